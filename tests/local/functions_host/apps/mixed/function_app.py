"""An app that mixes the extension's requests with those of azure.functions."""

import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request

app = func.FunctionApp()


@app.route("streams")
async def streams(req: Request) -> JSONResponse:
    return JSONResponse("streams")


@app.route("buffers")
async def buffers(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("buffers")
