using '../../infra/main.bicep'

// A developer uses the services too.
param environmentName = 'developer'
param location = 'swedencentral'
param developerPrincipalId = '11111111-1111-1111-1111-111111111111'
