# The app for Functions on Azure Container Apps: the same code, pins and app settings as on Flex
# Consumption. infra/modules/container-app.bicep runs it.
FROM mcr.microsoft.com/azure-functions/python:4-python3.13

# As in the Dockerfile that `func init --docker` writes: where the app is, and what the host logs also
# on the console, which is all that `az containerapp logs show` has.
ENV AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true

# Dependencies first: they change less often than the app.
#  --no-deps: requirements.txt is complete, without what Semantic Kernel asks for and the agent never
#    loads; 100 MB instead of 500.
#  SOURCE_DATE_EPOCH: .pyc files that are checked by content stay valid whatever times the image's
#    layers are given.
COPY requirements.txt /
RUN SOURCE_DATE_EPOCH=315532800 pip install --no-cache-dir --no-deps -r /requirements.txt

COPY host.json function_app.py /home/site/wwwroot/
COPY agent /home/site/wwwroot/agent
RUN SOURCE_DATE_EPOCH=315532800 python -m compileall -q /home/site/wwwroot
