using '../../infra/main.bicep'

// A pipeline deploys; nobody but the app uses the services.
param environmentName = 'no-developer'
param location = 'swedencentral'
