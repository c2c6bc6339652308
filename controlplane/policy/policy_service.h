// The rules of PolicyService, without the wire: linting, testing, applying and explaining policy.
#pragma once

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/policy/policy.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/identity/caller.h"
#include "controlplane/policy/policy_book.h"
#include "controlplane/policy/policy_store.h"
#include "controlplane/target/target_store.h"
#include "postern/v1/policy.pb.h"

namespace postern::policy {

struct PolicyDeps {
  PolicyStore& store;
  PolicyBook& book;
  const CatalogSource& catalogs;
  const target::TargetStore& targets;
  fleet::FleetHub& hub;
  const Clock& clock;
};

// SHA-256 over paths and texts, each with its length, in hex: equal digests mean equal documents.
std::string DigestOf(const std::vector<v1::PolicyDocument>& documents);

// NOT_FOUND/CATALOG_UNKNOWN.
absl::Status LintPolicy(const PolicyDeps& deps, const v1::LintPolicyRequest& request, v1::LintPolicyResponse* response);
absl::Status TestPolicy(const PolicyDeps& deps, const v1::TestPolicyRequest& request, v1::TestPolicyResponse* response);

// FAILED_PRECONDITION/POLICY_INVALID or POLICY_TESTS_FAILED, with the first findings in the message; ABORTED with
// STALE_REVISION if `if_revision` is not in force or another change came first.
absl::Status ApplyPolicy(const PolicyDeps& deps, const identity::Caller& caller, const v1::ApplyPolicyRequest& request,
                         v1::ApplyPolicyResponse* response);
absl::Status RollbackPolicy(const PolicyDeps& deps, const identity::Caller& caller,
                            const v1::RollbackPolicyRequest& request, v1::ApplyPolicyResponse* response);

absl::Status GetPolicy(const PolicyDeps& deps, const v1::GetPolicyRequest& request, v1::PolicyRevision* response);
absl::Status ListPolicyRevisions(const PolicyDeps& deps, const v1::ListPolicyRevisionsRequest& request,
                                 v1::ListPolicyRevisionsResponse* response);

// INVALID_ARGUMENT/INVALID_SUBJECT, NOT_FOUND/TARGET_NOT_FOUND.
absl::Status ExplainPolicy(const PolicyDeps& deps, const v1::ExplainPolicyRequest& request,
                           v1::ExplainPolicyResponse* response);

}  // namespace postern::policy
