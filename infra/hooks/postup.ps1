# What to do next, printed at the end of `azd up`; azd hands the outputs of infra/main.bicep over as
# variables. postup.sh says the same on Linux and macOS.
$ErrorActionPreference = "Stop"

if (-not $env:API_URL) {
    Write-Output "The services are ready. docs/deploy.md says how to run the app on this machine against them."
    exit 0
}

Write-Output ""
$page = "$env:API_URL/api/ui"
if ($env:SIGN_IN_CLIENT_ID) {
    $page = "$env:API_URL/.auth/login/aad?post_login_redirect_uri=/api/ui"
}
Write-Output "The agent answers at $env:API_URL/api/chat, its chat page is $page"
Write-Output "Ask it:"
Write-Output ""
if ($env:SIGN_IN_CLIENT_ID) {
    Write-Output "  `$token = az account get-access-token --resource api://$env:SIGN_IN_CLIENT_ID --query accessToken --output tsv"
    $header = 'authorization: Bearer $token'
} elseif ($env:AZURE_FUNCTION_APP_NAME) {
    Write-Output "  `$key = az functionapp keys list --resource-group $env:AZURE_RESOURCE_GROUP --name $env:AZURE_FUNCTION_APP_NAME --query functionKeys.default --output tsv"
    $header = 'x-functions-key: $key'
} else {
    Write-Output "  `$key = az containerapp function keys list --resource-group $env:AZURE_RESOURCE_GROUP --name $env:AZURE_CONTAINER_APP_NAME --key-type hostKey --query 'value[0].value' --output tsv"
    $header = 'x-functions-key: $key'
}
Write-Output "  curl.exe --get $env:API_URL/api/chat --header `"$header`" --data-urlencode `"input=What is the date?`""
Write-Output ""
Write-Output "An error that names a role means that Azure still spreads it: ask again, for up to ten minutes."

if (-not $env:AZURE_FUNCTION_APP_NAME -and $env:DEPLOYED_FUNCTION_APP) {
    Write-Output ""
    Write-Output "The function app $env:DEPLOYED_FUNCTION_APP of an earlier deployment still runs and answers. To remove it:"
    Write-Output ""
    Write-Output "  az functionapp delete --resource-group $env:AZURE_RESOURCE_GROUP --name $env:DEPLOYED_FUNCTION_APP"
    Write-Output "  azd env set DEPLOYED_FUNCTION_APP `"`""
}
