from locust import FastHttpUser


class LoggedIn(FastHttpUser):
    abstract = True

    def on_start(self):
        self.token = self.client.post("/token", data={"grant": "password"}).json()["token"]

    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}
