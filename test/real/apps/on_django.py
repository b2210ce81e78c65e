"""Django: a form, a session in a database, uploads, a stream, an error, and the admin with its static files.

    python on_django.py      makes the database, with the user admin and the password admin
"""

import hashlib
import os

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path

APPS = ("admin", "auth", "contenttypes", "messages", "sessions", "staticfiles")
TEMPLATES = "django.template.context_processors.request django.contrib.auth.context_processors.auth"
MESSAGES = "django.contrib.messages.context_processors.messages"

settings.configure(
    SECRET_KEY="not a secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib." + name for name in APPS],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": [*TEMPLATES.split(), MESSAGES]},
        }
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "OPTIONS": {"timeout": 20},
        }
    },
    MIGRATION_MODULES=dict.fromkeys(APPS),  # the tables at once, not in their historical steps
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # a good one takes half a second
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    STATIC_URL="/static/",
    USE_TZ=True,
)


def form(request):
    if request.method == "POST":
        request.session["said"] = "{name}: {note}".format(**request.POST.dict())
        response = HttpResponseRedirect("/said")
        response.status_code = 303
        return response
    token = f'<input name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return HttpResponse(f'<form method="post">{token}<input name="name"><input name="note"></form>')


def said(request):
    return HttpResponse(request.session.get("said", "nothing"))


def upload(request):
    if request.method == "PUT":
        hashed = hashlib.sha256()
        for block in iter(lambda: request.read(1 << 16), b""):
            hashed.update(block)
        return HttpResponse(hashed.hexdigest())
    return StreamingHttpResponse(request.FILES["file"].chunks(), content_type="application/octet-stream")


upload.csrf_exempt = True


def stream(request):
    def blocks():
        yield "first\n"
        with open(os.environ["GATE"]) as gate:
            yield gate.read()

    return StreamingHttpResponse(blocks(), content_type="text/plain")


def file(request):
    return FileResponse(open(os.environ["UPLOAD"], "rb"))


def error(request):
    raise LookupError("on purpose")


application = StaticFilesHandler(get_wsgi_application())
urlpatterns = [
    path("admin/", admin.site.urls),
    *(path(view.__name__, view) for view in (form, said, upload, stream, file, error)),
]

if __name__ == "__main__":
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    User.objects.create_superuser("admin", "admin@example.com", "admin")
