using '../../infra/main.bicep'

// No host: the services for an app that runs on a developer's machine.
param environmentName = 'services-only'
param location = 'eastus2'
param developerPrincipalId = '11111111-1111-1111-1111-111111111111'
param flexHost = false
