using '../../infra/main.bicep'

// What `azd up` deploys when nothing is set.
param environmentName = 'default'
param location = 'eastus2'
param principalId = '11111111-1111-1111-1111-111111111111'
