"""An app with a function that is no HTTP function."""

import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("now", methods=["GET"])
async def now(req: Request) -> JSONResponse:
    return JSONResponse("now")


@app.timer_trigger("timer", "0 */5 * * * *")
def every_five_minutes(timer: func.TimerRequest) -> None:
    pass
