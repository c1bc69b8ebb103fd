"""App Service Authentication: who is calling, before the app is asked?

In Azure the platform stands in front of the app, refuses strangers, and tells the app in headers
that nobody else can set who its caller is. Here the functions host wraps itself in this, with two
people to sign in as in place of Microsoft Entra ID.
https://learn.microsoft.com/azure/app-service/overview-authentication-authorization
"""

from local.app_service_auth.front import EXCLUDED_PATHS, AppServiceAuth
from local.app_service_auth.principals import PEOPLE

__all__ = ["EXCLUDED_PATHS", "PEOPLE", "AppServiceAuth"]
