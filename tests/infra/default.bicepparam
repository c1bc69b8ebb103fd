using '../../infra/main.bicep'

// What `azd up` deploys when nothing is set.
param environmentName = 'default'
param location = 'eastus2'
