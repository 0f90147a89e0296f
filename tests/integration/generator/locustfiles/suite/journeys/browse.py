from locust import task


@task
def home(user):
    user.client.get("/home", headers=user.headers())
