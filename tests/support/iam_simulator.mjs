// Reads {policies, calls} from stdin, asks the simulator about each call, writes one answer per call to stdout.
// A call names its policies by key, so that each is parsed and validated once.
import { createValidatedPolicy, validateIdentityPolicy, validateResourcePolicy } from '@cloud-copilot/iam-policy'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const text = await new Response(process.stdin).text()
const { identity, resource, calls } = JSON.parse(text)
const loaded = (documents, validate) =>
  Object.fromEntries(Object.entries(documents).map(([key, document]) => [key, createValidatedPolicy(document, validate)]))
const identityPolicies = loaded(identity, validateIdentityPolicy)
const resourcePolicies = loaded(resource, validateResourcePolicy)
const named = (keys) => keys.map((key) => ({ name: key, policy: identityPolicies[key] }))

const answers = []
for (const call of calls) {
  const response = await runSimulation({
    request: {
      principal: call.principal,
      action: call.action,
      resource: { resource: call.resource, accountId: call.account },
      contextVariables: call.context
    },
    identityPolicies: named(call.identity),
    ...(call.boundary.length ? { permissionBoundaryPolicies: named(call.boundary) } : {}),
    ...(call.resourcePolicy ? { resourcePolicy: resourcePolicies[call.resourcePolicy] } : {}),
    serviceControlPolicies: [],
    resourceControlPolicies: []
  }, {})
  answers.push({
    result: response.resultType === 'error' ? `error: ${JSON.stringify(response.errors)}`
      : response.overallResult,
    ignored: response.result?.ignoredContextKeys ?? response.results?.[0]?.ignoredContextKeys ?? []
  })
}
process.stdout.write(JSON.stringify(answers))
