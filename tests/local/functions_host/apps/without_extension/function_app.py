"""An app that does not use the HTTP extension."""

import azure.functions as func

app = func.FunctionApp()


@app.route("buffers")
async def buffers(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("buffers")
