using '../../infra/main.bicep'

// Functions on Container Apps instead of Flex Consumption, provisioned again after a deployment.
param environmentName = 'container-host'
param location = 'eastus2'
param developerPrincipalId = '11111111-1111-1111-1111-111111111111'
param flexHost = false
param containerHost = true
param containerImage = 'crexample.azurecr.io/agent/api-container:azd-deploy-1'
