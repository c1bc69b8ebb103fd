using '../../infra/main.bicep'

// Callers sign in with Entra, on either host.
param environmentName = 'sign-in'
param location = 'eastus2'
param containerHost = true
param signInClientId = '33333333-3333-3333-3333-333333333333'
