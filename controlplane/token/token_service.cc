#include "controlplane/token/token_service.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/hash.h"
#include "controlplane/target/target_service.h"
#include "controlplane/token/intent.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace postern::grant {
namespace {

constexpr int kRaces = 16;

absl::Status NotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "GRANT_NOT_FOUND", fmt::format("there is no grant {}", id),
               "`postern token list` shows those that you may see");
}

absl::Status PolicyDenied(const policy::TokenDecision& decision) {
  return Error(absl::StatusCode::kPermissionDenied, "POLICY_DENIED", decision.reason, decision.hint,
               {{"rule", decision.rule.ToString()}});
}

// Why the token of a grant that has ended cannot be collected.
absl::Status Ended(const Grant& grant, v1::GrantState state) {
  const std::string why = grant.body.state_reason().empty() ? "" : fmt::format(": {}", grant.body.state_reason());
  const std::map<std::string, std::string> facts{{"grant", grant.id()}, {"approval", grant.body.approval_id()}};
  switch (state) {
    case v1::GRANT_DENIED:
      return Error(absl::StatusCode::kPermissionDenied, "GRANT_DENIED",
                   fmt::format("grant {} was denied{}", grant.id(), why), "ask the approver, then request again",
                   facts);
    case v1::GRANT_REVOKED:
      return Error(absl::StatusCode::kFailedPrecondition, "GRANT_REVOKED",
                   fmt::format("grant {} was revoked{}", grant.id(), why), "request a new one", facts);
    default:
      return Error(absl::StatusCode::kFailedPrecondition, "GRANT_EXPIRED",
                   fmt::format("grant {} has expired{}", grant.id(), why), "request a new one", facts);
  }
}

absl::Status CheckRequest(const identity::Caller& caller, const v1::MintTokenRequest& request) {
  if (!IsUuid(request.request_id())) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_REQUEST_ID", "request_id must be a UUID",
                 "make a new one for each new request, and repeat it to retry");
  }
  POSTERN_RETURN_IF_ERROR(ValidateIntent(request.intent()));
  const std::string& person = request.intent().on_behalf_of();
  if (person.empty() || MayActFor(caller.may_act_for, person)) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "ON_BEHALF_OF",
               fmt::format("{} may not act for {}", caller.id(), person),
               "an admin names the people that an agent may act for on its account");
}

policy::TokenDecision Judge(const TokenDeps& deps, const identity::Caller& caller, const v1::Target& target,
                            const v1::Intent& intent) {
  policy::Subject subject{.agent = caller.id(),
                          .on_behalf_of = intent.on_behalf_of(),
                          .groups = {caller.principal.groups().begin(), caller.principal.groups().end()}};
  policy::TargetView view{.name = target.name(), .database = intent.database(), .env = target.env()};
  policy::IntentView wanted{.verbs = {intent.do_().begin(), intent.do_().end()},
                            .objects = {intent.objects().begin(), intent.objects().end()}};
  return deps.policy.Current()->JudgeToken(subject, view, wanted, intent.ttl_seconds());
}

Grant NewGrant(const TokenDeps& deps, const identity::Caller& caller, const v1::Intent& intent,
               const v1::MintTokenRequest& request, std::string digest, const policy::TokenDecision& decision,
               int64_t policy_revision) {
  const absl::Time now = deps.clock.Now();
  Grant grant;
  grant.body.set_id(NewId(kGrantPrefix, now, deps.random));
  grant.body.set_agent(caller.id());
  *grant.body.mutable_intent() = intent;
  *grant.body.mutable_create_time() = ToTimestamp(now);
  *grant.body.mutable_groups() = caller.principal.groups();
  grant.body.set_policy_revision(policy_revision);
  grant.owner = caller.owner;
  grant.ttl_seconds = intent.ttl_seconds() == 0 ? decision.session.ttl_seconds
                                                : std::min(intent.ttl_seconds(), decision.session.ttl_seconds);
  grant.request_id = request.request_id();
  grant.request_digest = std::move(digest);
  return grant;
}

approval::Approval ApprovalFor(const TokenDeps& deps, const Grant& grant, const policy::TokenDecision& decision) {
  v1::Approval body;
  const v1::Intent& intent = grant.body.intent();
  body.set_agent(grant.body.agent());
  body.set_on_behalf_of(intent.on_behalf_of());
  body.set_grant_id(grant.id());
  body.set_target(intent.target());
  body.set_database(intent.database());
  body.set_reason(intent.reason());
  *body.mutable_requested_do() = intent.do_();
  *body.mutable_requested_objects() = intent.objects();
  body.set_requested_ttl_seconds(grant.ttl_seconds);
  body.set_rule(decision.rule.ToString());
  body.set_rule_message(decision.rule.message);
  for (const std::string& group : decision.hold.groups) body.add_approver_groups(group);
  body.set_approvals_needed(decision.hold.approvals);
  if (decision.hold.settings != nullptr) *body.mutable_hold() = *decision.hold.settings;
  *body.mutable_request_expire_time() =
      ToTimestamp(deps.clock.Now() + absl::Seconds(decision.hold.request_ttl_seconds));
  body.set_use_within_seconds(decision.hold.use_within_seconds);
  return deps.approvals.MakeTokenApproval(std::move(body), grant.owner);
}

token::Claims ClaimsOf(const TokenDeps& deps, const Grant& grant) {
  const v1::Intent& intent = grant.body.intent();
  token::Claims claims;
  claims.issuer = deps.origin;
  claims.target = intent.target();
  claims.agent = grant.body.agent();
  claims.on_behalf_of = intent.on_behalf_of();
  claims.groups = {grant.body.groups().begin(), grant.body.groups().end()};
  claims.grant_id = grant.id();
  claims.database = intent.database();
  claims.verbs = {intent.do_().begin(), intent.do_().end()};
  claims.objects = {intent.objects().begin(), intent.objects().end()};
  claims.issued_at = deps.clock.Now();
  claims.expires_at = ExpireTime(grant);
  return claims;
}

void Describe(const Grant& grant, v1::AuditRecord& act) {
  const v1::Intent& intent = grant.body.intent();
  act.set_grant_id(grant.id());
  act.set_approval_id(grant.body.approval_id());
  act.set_object(grant.id());
  act.set_target(intent.target());
  act.set_database(intent.database());
  act.set_on_behalf_of(intent.on_behalf_of());
  act.set_policy_revision(grant.body.policy_revision());
  auto& detail = *act.mutable_detail();
  detail["do"] = fmt::format("{}", fmt::join(intent.do_(), ","));
  detail["objects"] = fmt::format("{}", fmt::join(intent.objects(), ","));
  detail["reason"] = intent.reason();
  detail["ttl_seconds"] = std::to_string(grant.ttl_seconds);
}

absl::Status RecordAs(const TokenDeps& deps, v1::AuditRecord act, std::string_view outcome) {
  *act.mutable_time() = ToTimestamp(deps.clock.Now());
  act.set_outcome(std::string(outcome));
  return deps.audit.Record(std::move(act));
}

// Fills the answer for a grant that is active: the record of the intent to sign is written already.
absl::Status SignInto(const TokenDeps& deps, const Grant& grant, const v1::AuditRecord& act,
                      v1::MintTokenResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(std::string token, deps.signer()->Sign(ClaimsOf(deps, grant)));
  POSTERN_RETURN_IF_ERROR(RecordAs(deps, act, "completed"));
  *response->mutable_grant() = ToProto(grant, deps.clock.Now());
  response->set_token(std::move(token));
  response->set_database(grant.body.intent().database());
  // Postgres clients insist on a user name; the token says who it is, and policy which role the session gets.
  response->set_user(grant.body.agent());
  const std::vector<fleet::FleetHub::Endpoint> endpoints = deps.hub.EndpointsFor(grant.body.intent().target());
  if (!endpoints.empty()) {
    response->set_sidecar_host(endpoints.front().host);
    response->set_sidecar_port(endpoints.front().port);
    response->set_ca_pem(endpoints.front().client_ca_pem);
  }
  return absl::OkStatus();
}

// The same request again: what became of its grant, and its token if it is active.
absl::Status Collect(const TokenDeps& deps, Grant grant, v1::AuditRecord& act, v1::MintTokenResponse* response) {
  if (!grant.body.approval_id().empty()) {
    POSTERN_RETURN_IF_ERROR(deps.approvals.Settle(grant.body.approval_id()));
    POSTERN_ASSIGN_OR_RETURN(grant, deps.grants.Get(grant.id()));
  }
  Describe(grant, act);
  v1::GrantState state = StateAt(grant, deps.clock.Now());
  if (state == v1::GRANT_PENDING_APPROVAL) {
    *response->mutable_grant() = grant.body;
    return absl::OkStatus();
  }
  if (state != v1::GRANT_ACTIVE) return Ended(grant, state);
  act.set_decision("allow");
  POSTERN_RETURN_IF_ERROR(RecordAs(deps, act, "intended"));
  if (!grant.body.approval_id().empty()) {
    POSTERN_RETURN_IF_ERROR(deps.approvals.ClaimForToken(grant.body.approval_id()));
    // It may have been revoked while it was being claimed.
    POSTERN_ASSIGN_OR_RETURN(grant, deps.grants.Get(grant.id()));
    state = StateAt(grant, deps.clock.Now());
    if (state != v1::GRANT_ACTIVE) return Ended(grant, state);
  }
  return SignInto(deps, grant, act, response);
}

// Saves a new grant. True if another request with the same id came first.
absl::StatusOr<bool> InsertOrLose(const TokenDeps& deps, const Grant& grant, const approval::Approval* opened) {
  const absl::Status inserted = deps.grants.Insert(grant, opened);
  if (inserted.code() == absl::StatusCode::kAlreadyExists) return true;
  POSTERN_RETURN_IF_ERROR(inserted);
  return false;
}

// A stored grant for which no token can be made must not stay active.
void Withdraw(const TokenDeps& deps, std::string_view id, std::string_view why) {
  absl::StatusOr<Grant> grant = deps.grants.Get(id);
  if (!grant.ok()) return;
  Refuse(*grant, v1::GRANT_DENIED, why);
  deps.grants.Replace(*grant).IgnoreError();
}

absl::StatusOr<Grant> FindRepeat(const TokenDeps& deps, const identity::Caller& caller,
                                 const v1::MintTokenRequest& request, const std::string& digest) {
  POSTERN_ASSIGN_OR_RETURN(Grant existing, deps.grants.FindByRequest(caller.id(), request.request_id()));
  if (existing.request_digest == digest) return existing;
  return Error(absl::StatusCode::kInvalidArgument, "REQUEST_ID_REUSED",
               fmt::format("request_id {} was used for another intent", request.request_id()), "make a new request_id");
}

bool MaySee(const identity::Caller& caller, const Grant& grant) {
  return !caller.IsAgent() || grant.body.agent() == caller.id();
}

bool MayRevoke(const identity::Caller& caller, const Grant& grant) {
  if (caller.IsAgent()) return grant.body.agent() == caller.id();
  if (caller.HasRole(identity::kRoleAdmin) || caller.HasRole(identity::kRoleOperator)) return true;
  return !grant.owner.empty() && (grant.owner == caller.id() || caller.InGroup(grant.owner));
}

absl::StatusOr<Grant> RevokeOne(const TokenDeps& deps, std::string_view id, std::string_view reason) {
  for (int race = 0; race < kRaces; ++race) {
    POSTERN_ASSIGN_OR_RETURN(Grant grant, deps.grants.Get(id));
    if (!Revoke(grant, reason, deps.clock.Now())) return grant;
    const absl::Status saved = deps.grants.Replace(grant);
    if (saved.code() == absl::StatusCode::kAborted) continue;
    POSTERN_RETURN_IF_ERROR(saved);
    deps.hub.PushRevocation(RevocationOf(grant));
    POSTERN_RETURN_IF_ERROR(deps.approvals.CancelForGrant(grant.id()));
    return grant;
  }
  return Error(absl::StatusCode::kAborted, "STALE_ETAG", fmt::format("grant {} keeps changing", id), "try again");
}

}  // namespace

absl::Status MintToken(const TokenDeps& deps, const identity::Caller& caller, const v1::MintTokenRequest& request,
                       v1::AuditRecord& act, v1::MintTokenResponse* response) {
  act.set_target(request.intent().target());
  act.set_database(request.intent().database());
  act.set_on_behalf_of(request.intent().on_behalf_of());
  POSTERN_RETURN_IF_ERROR(CheckRequest(caller, request));
  const std::string digest = crypto::Sha256(request.intent().SerializeAsString());
  absl::StatusOr<Grant> repeat = FindRepeat(deps, caller, request, digest);
  if (repeat.ok()) return Collect(deps, *std::move(repeat), act, response);
  if (repeat.status().code() != absl::StatusCode::kNotFound) return repeat.status();

  POSTERN_ASSIGN_OR_RETURN(const target::StoredTarget target, deps.targets.Get(request.intent().target()));
  v1::Intent intent = request.intent();
  POSTERN_ASSIGN_OR_RETURN(*intent.mutable_database(), target::DatabaseOf(target.target, intent.database()));

  const policy::TokenDecision decision = Judge(deps, caller, target.target, intent);
  Grant grant = NewGrant(deps, caller, intent, request, digest, decision, deps.policy.Current()->revision());
  std::optional<approval::Approval> opened;
  if (decision.verdict == policy::Verdict::kHold) {
    grant.body.set_state(v1::GRANT_PENDING_APPROVAL);
    opened = ApprovalFor(deps, grant, decision);
    grant.body.set_approval_id(opened->id());
  } else {
    Activate(grant, deps.clock.Now());
  }
  Describe(grant, act);
  act.set_rule(decision.rule.ToString());
  if (decision.verdict == policy::Verdict::kDeny) {
    act.clear_grant_id();
    act.clear_object();
    act.set_decision("deny");
    return PolicyDenied(decision);
  }

  act.set_decision(opened.has_value() ? "hold" : "allow");
  POSTERN_RETURN_IF_ERROR(RecordAs(deps, act, "intended"));
  POSTERN_ASSIGN_OR_RETURN(const bool lost, InsertOrLose(deps, grant, opened.has_value() ? &*opened : nullptr));
  if (lost) {
    POSTERN_ASSIGN_OR_RETURN(Grant first, FindRepeat(deps, caller, request, digest));
    return Collect(deps, std::move(first), act, response);
  }
  if (opened.has_value()) {
    deps.approvals.Announce(*opened);
    POSTERN_RETURN_IF_ERROR(RecordAs(deps, act, "completed"));
    *response->mutable_grant() = grant.body;
    return absl::OkStatus();
  }
  const absl::Status signed_into = SignInto(deps, grant, act, response);
  if (!signed_into.ok()) Withdraw(deps, grant.id(), "its token could not be made");
  return signed_into;
}

absl::Status GetGrant(const TokenDeps& deps, const identity::Caller& caller, const v1::GetGrantRequest& request,
                      v1::Grant* response) {
  POSTERN_ASSIGN_OR_RETURN(Grant grant, deps.grants.Get(request.id()));
  if (!MaySee(caller, grant)) return NotFound(request.id());
  if (grant.body.state() == v1::GRANT_PENDING_APPROVAL) {
    POSTERN_RETURN_IF_ERROR(deps.approvals.Settle(grant.body.approval_id()));
    POSTERN_ASSIGN_OR_RETURN(grant, deps.grants.Get(request.id()));
  }
  *response = ToProto(grant, deps.clock.Now());
  return absl::OkStatus();
}

absl::Status ListGrants(const TokenDeps& deps, const identity::Caller& caller, const v1::ListGrantsRequest& request,
                        v1::ListGrantsResponse* response) {
  const int wanted = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 1000);
  GrantFilter filter{.agent = request.agent(),
                     .target = request.target(),
                     .active_only = request.active_only(),
                     .before_id = request.page_token(),
                     .limit = wanted + 1};
  if (caller.IsAgent()) {
    if (!filter.agent.empty() && filter.agent != caller.id()) return absl::OkStatus();
    filter.agent = caller.id();
  }
  // Pending grants end with their approvals.
  deps.approvals.ExpireDue();
  const absl::Time now = deps.clock.Now();
  POSTERN_ASSIGN_OR_RETURN(const std::vector<Grant> page, deps.grants.List(filter, now));
  for (const Grant& grant : page) {
    if (response->grants_size() == wanted) {
      response->set_next_page_token(response->grants(wanted - 1).id());
      break;
    }
    *response->add_grants() = ToProto(grant, now);
  }
  return absl::OkStatus();
}

absl::Status RevokeGrant(const TokenDeps& deps, const identity::Caller& caller, const v1::RevokeGrantRequest& request,
                         v1::Grant* response) {
  POSTERN_ASSIGN_OR_RETURN(const Grant grant, deps.grants.Get(request.id()));
  if (!MayRevoke(caller, grant)) return NotFound(request.id());
  std::string reason = request.reason();
  if (reason.empty()) reason = fmt::format("revoked by {}", caller.id());
  POSTERN_ASSIGN_OR_RETURN(const Grant revoked, RevokeOne(deps, request.id(), reason));
  *response = ToProto(revoked, deps.clock.Now());
  return absl::OkStatus();
}

absl::Status RevokeGrantsOf(const TokenDeps& deps, std::string_view agent, std::string_view reason) {
  GrantFilter filter{.agent = std::string(agent), .open_only = true, .limit = 500};
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<Grant> page, deps.grants.List(filter, deps.clock.Now()));
    for (const Grant& grant : page) POSTERN_RETURN_IF_ERROR(RevokeOne(deps, grant.id(), reason).status());
    if (page.size() < static_cast<size_t>(filter.limit)) return absl::OkStatus();
    filter.before_id = page.back().id();
  }
}

}  // namespace postern::grant
