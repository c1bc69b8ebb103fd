#!/bin/sh
# What to do next, printed at the end of `azd up`; azd hands the outputs of infra/main.bicep over as
# variables. postup.ps1 says the same on Windows.
set -eu

if [ -z "${API_URL:-}" ]; then
    echo "The services are ready. docs/deploy.md says how to run the app on this machine against them."
    exit 0
fi

echo
page=$API_URL/api/ui
if [ -n "${SIGN_IN_CLIENT_ID:-}" ]; then
    page="$API_URL/.auth/login/aad?post_login_redirect_uri=/api/ui"
fi
echo "The agent answers at $API_URL/api/chat, its chat page is $page"
echo "Ask it:"
echo
if [ -n "${SIGN_IN_CLIENT_ID:-}" ]; then
    echo "  token=\$(az account get-access-token --resource api://$SIGN_IN_CLIENT_ID --query accessToken --output tsv)"
    header='authorization: Bearer $token'
elif [ -n "${AZURE_FUNCTION_APP_NAME:-}" ]; then
    echo "  key=\$(az functionapp keys list --resource-group $AZURE_RESOURCE_GROUP --name $AZURE_FUNCTION_APP_NAME --query functionKeys.default --output tsv)"
    header='x-functions-key: $key'
else
    echo "  key=\$(az containerapp function keys list --resource-group $AZURE_RESOURCE_GROUP --name $AZURE_CONTAINER_APP_NAME --key-type hostKey --query 'value[0].value' --output tsv)"
    header='x-functions-key: $key'
fi
echo "  curl --get $API_URL/api/chat --header \"$header\" --data-urlencode \"input=What is the date?\""
echo
echo "An error that names a role means that Azure still spreads it: ask again, for up to ten minutes."

if [ -z "${AZURE_FUNCTION_APP_NAME:-}" ] && [ -n "${DEPLOYED_FUNCTION_APP:-}" ]; then
    echo
    echo "The function app $DEPLOYED_FUNCTION_APP of an earlier deployment still runs and answers. To remove it:"
    echo
    echo "  az functionapp delete --resource-group $AZURE_RESOURCE_GROUP --name $DEPLOYED_FUNCTION_APP"
    echo "  azd env set DEPLOYED_FUNCTION_APP \"\""
fi
