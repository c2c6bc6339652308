#include "controlplane/approval/approvals.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/obs/log.h"
#include "fmt/format.h"

namespace postern::approval {
namespace {

// Two deciders who race need one retry each; more than this many lost races in a row is no race any more.
constexpr int kRaces = 16;
constexpr int kExpireBatch = 100;
// The wall clock may be set while the timer waits, so it looks again at least this often.
constexpr absl::Duration kLongestWait = absl::Seconds(30);
constexpr absl::Duration kRetryAfterStoreError = absl::Seconds(1);
constexpr size_t kLargestPreview = 64 << 10;

constexpr int64_t kDefaultRequestTtl = 1800;
constexpr int64_t kDefaultUseWithin = 300;
constexpr int64_t kLongestWindow = 24 * 3600;

int64_t WindowOr(int64_t seconds, int64_t fallback) {
  return seconds <= 0 ? fallback : std::min(seconds, kLongestWindow);
}

absl::Status GrantNotActive(std::string_view id) {
  return Error(absl::StatusCode::kFailedPrecondition, "GRANT_NOT_ACTIVE", fmt::format("grant {} is not active", id),
               "request a new token");
}

absl::Status BindingMismatch(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "BINDING_MISMATCH",
               fmt::format("the binding does not fit its grant: {}", what));
}

// What the decision makes of the grant that a token approval is for. False if it stays as it is.
bool CarryOver(const v1::Approval& approval, absl::Time now, grant::Grant& grant) {
  const v1::GrantState state = grant.body.state();
  const bool waiting = state == v1::GRANT_PENDING_APPROVAL;
  switch (approval.state()) {
    case v1::APPROVAL_APPROVED:
      if (waiting) grant::Activate(grant, now);
      return waiting;
    case v1::APPROVAL_DENIED: {
      const v1::Vote& vote = approval.votes(approval.votes_size() - 1);
      if (waiting) {
        grant::Refuse(grant, v1::GRANT_DENIED,
                      vote.comment().empty() ? fmt::format("denied by {}", vote.principal())
                                             : fmt::format("denied by {}: {}", vote.principal(), vote.comment()));
      }
      return waiting;
    }
    case v1::APPROVAL_EXPIRED:
      // Also one that was approved and whose token nobody fetched.
      if (!waiting && state != v1::GRANT_ACTIVE) return false;
      grant::Refuse(grant, v1::GRANT_EXPIRED, waiting ? "nobody decided in time" : "the token was not fetched in time");
      return true;
    case v1::APPROVAL_CANCELLED:
      if (!waiting && state != v1::GRANT_ACTIVE) return false;
      grant::Refuse(grant, v1::GRANT_DENIED, "the request was withdrawn");
      return true;
    default:
      return false;
  }
}

}  // namespace

Approvals::Approvals(ApprovalStore& store, StandingStore& standing, grant::GrantStore& grants, fleet::FleetHub& hub,
                     audit::AuditSink& audit, const Clock& clock, Random& random, FreezeAt freeze_at)
    : store_(store),
      standing_(standing),
      grants_(grants),
      hub_(hub),
      audit_(audit),
      clock_(clock),
      random_(random),
      freeze_at_(std::move(freeze_at)) {
  // Unreadable, they are read again with the next change; until then nobody stands in for anybody.
  LoadDelegations().IgnoreError();
  timer_ = std::thread([this] { RunTimer(); });
}

Approvals::~Approvals() {
  {
    absl::MutexLock lock(&timer_mu_);
    stopping_ = true;
  }
  timer_.join();
}

// --- One change --------------------------------------------------------------------------------------------------

absl::Status Approvals::Record(const v1::Approval& approval, const Actor& actor, std::string_view outcome) {
  v1::AuditRecord record;
  record.set_kind(v1::CONTROL);
  *record.mutable_time() = ToTimestamp(clock_.Now());
  record.set_agent(approval.agent());
  record.set_on_behalf_of(approval.on_behalf_of());
  record.set_grant_id(approval.grant_id());
  record.set_target(approval.target());
  record.set_database(approval.database());
  record.set_session_id(actor.session_id);
  record.set_approval_id(approval.id());
  record.set_rule(approval.rule());
  record.set_action("approval");
  record.set_object(approval.id());
  record.set_outcome(std::string(outcome));
  auto& detail = *record.mutable_detail();
  detail["state"] = v1::ApprovalState_Name(approval.state());
  detail["by"] = actor.name;
  if (!actor.comment.empty()) detail["comment"] = actor.comment;
  if (!approval.template_id().empty()) detail["template"] = approval.template_id();
  if (approval.has_broken_glass()) {
    const v1::BrokenGlass& glass = approval.broken_glass();
    detail["glass_broken_by"] = glass.by();
    detail["review"] =
        glass.has_review_time()
            ? fmt::format("{} by {}", glass.review_ok() ? "justified" : "not justified", glass.reviewed_by())
        : glass.overdue() ? "overdue"
                          : "owed";
  }
  detail["votes"] = fmt::format("{} of {}", approval.votes_size(), approval.approvals_needed());
  return audit_.Record(std::move(record));
}

absl::StatusOr<Approval> Approvals::Save(const Approval& next, const Actor& actor) {
  std::optional<grant::Grant> grant;
  if (next.body().kind() == v1::APPROVAL_KIND_TOKEN) {
    POSTERN_ASSIGN_OR_RETURN(grant, grants_.Get(next.body().grant_id()));
    if (!CarryOver(next.body(), clock_.Now(), *grant)) grant.reset();
  }
  POSTERN_RETURN_IF_ERROR(Record(next.body(), actor, "intended"));
  absl::StatusOr<Approval> saved = store_.Replace(next, grant.has_value() ? &*grant : nullptr);
  // The intent is on record. Should this second record fail, the change holds all the same and is told.
  Record(next.body(), actor, saved.ok() ? "completed" : "failed").IgnoreError();
  if (saved.ok()) Tell(saved->id());
  return saved;
}

absl::StatusOr<Approval> Approvals::Fresh(std::string_view id) {
  for (int race = 0; race < kRaces; ++race) {
    POSTERN_ASSIGN_OR_RETURN(Approval approval, store_.Get(id));
    if (!approval.Expire(clock_.Now())) return approval;
    absl::StatusOr<Approval> saved = Save(approval, Actor{.name = "clock"});
    if (saved.ok() || saved.status().code() != absl::StatusCode::kAborted) return saved;
  }
  return error::StaleEtag(id);
}

absl::StatusOr<v1::Approval> Approvals::Apply(std::string_view id, const Actor& actor, const Change& change) {
  for (int race = 0; race < kRaces; ++race) {
    POSTERN_ASSIGN_OR_RETURN(Approval approval, Fresh(id));
    POSTERN_RETURN_IF_ERROR(change(approval, clock_.Now()));
    absl::StatusOr<Approval> saved = Save(approval, actor);
    if (saved.ok()) return saved->body();
    if (saved.status().code() != absl::StatusCode::kAborted) return saved.status();
  }
  return error::StaleEtag(id);
}

void Approvals::Tell(std::string_view id) {
  WakeTimer();
  absl::MutexLock lock(&watchers_mu_);
  // Read here, under the lock: of two changes that race, whichever tells last tells the newest.
  const absl::StatusOr<Approval> now = store_.Get(id);
  // The sidecars then hear of it when they ask; an unreadable store fails every claim anyway.
  if (!now.ok()) return;
  std::set<std::string> sidecars;
  if (const auto waiters = store_.Waiters(id); waiters.ok()) {
    for (const Waiter& waiter : *waiters) sidecars.insert(waiter.sidecar_id);
  }
  for (const std::string& sidecar : sidecars) {
    v1::Approval addressed = now->body();
    addressed.set_sidecar_id(sidecar);
    hub_.PushApproval(addressed);
  }
  for (const auto& [subscription, watcher] : watchers_) watcher(now->body());
}

// --- For sidecars ------------------------------------------------------------------------------------------------

absl::StatusOr<Approval> Approvals::FromRequest(std::string_view sidecar_id,
                                                const v1::RequestStatementApprovalRequest& request,
                                                const grant::Grant& grant, absl::Time now) const {
  const v1::StatementBinding& binding = request.binding();
  v1::Approval body;
  body.set_id(NewId(kApprovalPrefix, now, random_));
  body.set_kind(v1::APPROVAL_KIND_STATEMENT);
  body.set_agent(binding.agent());
  body.set_on_behalf_of(grant.body.intent().on_behalf_of());
  body.set_grant_id(grant.id());
  body.set_target(binding.target());
  body.set_database(binding.database());
  body.set_reason(grant.body.intent().reason());
  *body.mutable_binding() = binding;
  body.set_binding_digest(DigestOf(binding));
  *body.mutable_effects() = request.effects();
  body.set_rule(request.rule());
  body.set_rule_message(request.rule_message());
  *body.mutable_approver_groups() = request.approver_groups();
  body.set_approvals_needed(request.approvals_needed());
  *body.mutable_create_time() = ToTimestamp(now);
  // Nothing runs under a grant that has ended, so nobody is asked for longer than it lives.
  const int64_t asked = request.in_transaction() && request.hold().in_transaction_ttl_seconds() > 0
                            ? std::min(WindowOr(request.request_ttl_seconds(), kDefaultRequestTtl),
                                       request.hold().in_transaction_ttl_seconds())
                            : request.request_ttl_seconds();
  const absl::Duration ttl = absl::Seconds(WindowOr(asked, kDefaultRequestTtl));
  *body.mutable_request_expire_time() = ToTimestamp(std::min(now + ttl, grant::ExpireTime(grant)));
  body.set_use_within_seconds(WindowOr(request.use_within_seconds(), kDefaultUseWithin));
  body.set_sidecar_id(std::string(sidecar_id));
  body.set_session_id(request.session_id());
  body.set_client_address(request.client_address());
  body.set_in_transaction(request.in_transaction());

  if (request.has_hold()) *body.mutable_hold() = request.hold();
  *body.mutable_shape() = request.shape();
  *body.mutable_risks() = request.risks();
  body.set_risk(request.risk());

  Approval fresh = Approval::Open(std::move(body), grant.owner);
  const std::string key = fresh.body().hold().has_template_() ? TemplateKeyOf(fresh.body()) : std::string();
  if (!key.empty() && CheckFreeze(fresh.body(), now).ok()) {
    const absl::StatusOr<v1::ApprovalTemplate> found = standing_.UseTemplate(key, now);
    if (found.ok()) fresh.ApproveBy(*found, now);
    if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
  }
  return fresh;
}

absl::StatusOr<v1::Approval> Approvals::RequestStatementApproval(std::string_view sidecar_id,
                                                                 const v1::RequestStatementApprovalRequest& request) {
  const v1::StatementBinding& binding = request.binding();
  if (!IsUuid(request.request_id())) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_REQUEST_ID", "request_id must be a UUID");
  }
  if (!IsId(request.session_id(), kSessionPrefix)) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_SESSION_ID", "session_id is not one of a session");
  }
  POSTERN_ASSIGN_OR_RETURN(const grant::Grant grant, grants_.Get(binding.grant_id()));
  const absl::Time now = clock_.Now();
  if (grant::StateAt(grant, now) != v1::GRANT_ACTIVE) return GrantNotActive(grant.id());
  if (binding.agent() != grant.body.agent()) return BindingMismatch("another agent");
  if (binding.target() != grant.body.intent().target()) return BindingMismatch("another target");

  // One whose time is over by a moment must not be joined.
  ExpireDue();
  POSTERN_ASSIGN_OR_RETURN(const Approval fresh, FromRequest(sidecar_id, request, grant, now));
  const Actor actor{.name = fmt::format("sidecars/{}", sidecar_id), .session_id = request.session_id()};
  POSTERN_RETURN_IF_ERROR(Record(fresh.body(), actor, "intended"));
  bool joined = false;
  absl::StatusOr<Approval> opened =
      store_.OpenOrJoin(fresh, Waiter{request.session_id(), std::string(sidecar_id), request.request_id()}, &joined);
  Record(opened.ok() ? opened->body() : fresh.body(), actor,
         !opened.ok() ? "failed"
         : joined     ? "joined"
                      : "completed")
      .IgnoreError();
  POSTERN_RETURN_IF_ERROR(opened.status());
  if (!joined) Tell(opened->id());
  // A joined one may have come to its end a moment ago.
  POSTERN_ASSIGN_OR_RETURN(Approval current, Fresh(opened->id()));
  v1::Approval answer = current.body();
  answer.set_sidecar_id(std::string(sidecar_id));
  return answer;
}

absl::StatusOr<v1::Approval> Approvals::Claim(std::string_view sidecar_id, const v1::ClaimApprovalRequest& request) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<Waiter> waiters, store_.Waiters(request.id()));
  const bool waits = std::any_of(waiters.begin(), waiters.end(), [&](const Waiter& waiter) {
    return waiter.session_id == request.session_id() && waiter.sidecar_id == sidecar_id;
  });
  if (!waits) return error::NotUsable(request.id(), "this session does not wait for it");
  const Actor actor{.name = fmt::format("sidecars/{}", sidecar_id), .session_id = request.session_id()};
  return Apply(request.id(), actor, [&](Approval& approval, absl::Time now) -> absl::Status {
    if (approval.body().kind() != v1::APPROVAL_KIND_STATEMENT)
      return error::NotUsable(approval.id(), "it is for a token");
    POSTERN_ASSIGN_OR_RETURN(const grant::Grant grant, grants_.Get(approval.body().grant_id()));
    if (grant::StateAt(grant, now) != v1::GRANT_ACTIVE) return error::NotUsable(approval.id(), "its grant has ended");
    POSTERN_RETURN_IF_ERROR(CheckFreeze(approval.body(), now));
    POSTERN_RETURN_IF_ERROR(CheckTemplate(approval.body(), now));
    return approval.Claim(request.binding_digest(), now);
  });
}

absl::Status Approvals::AttachPreview(std::string_view sidecar_id, const v1::AttachPreviewRequest& request) {
  if (request.preview().ByteSizeLong() > kLargestPreview) {
    return Error(absl::StatusCode::kInvalidArgument, "PREVIEW_TOO_LARGE",
                 fmt::format("the preview is larger than {} bytes", kLargestPreview));
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<Waiter> waiters, store_.Waiters(request.id()));
  const bool waits = std::any_of(waiters.begin(), waiters.end(), [&](const Waiter& waiter) {
    return waiter.session_id == request.session_id() && waiter.sidecar_id == sidecar_id;
  });
  if (!waits) return error::NotUsable(request.id(), "this session does not wait for it");
  POSTERN_ASSIGN_OR_RETURN(const Approval approval, store_.Get(request.id()));
  if (approval.body().hold().preview().show() == "none") {
    return error::NotUsable(request.id(), "its rule allows no preview");
  }
  // What was looked up goes on record, what it showed does not.
  v1::AuditRecord record;
  record.set_kind(v1::CONTROL);
  *record.mutable_time() = ToTimestamp(clock_.Now());
  record.set_agent(approval.body().agent());
  record.set_grant_id(approval.body().grant_id());
  record.set_target(approval.body().target());
  record.set_database(approval.body().database());
  record.set_session_id(request.session_id());
  record.set_approval_id(request.id());
  record.set_action("preview");
  record.set_object(request.id());
  record.set_outcome("completed");
  (*record.mutable_detail())["show"] = approval.body().hold().preview().show();
  (*record.mutable_detail())["rows"] = std::to_string(request.preview().rows_size());
  POSTERN_RETURN_IF_ERROR(audit_.Record(std::move(record)));
  POSTERN_RETURN_IF_ERROR(store_.AttachPreview(request.id(), request.preview()));
  Tell(request.id());
  return absl::OkStatus();
}

absl::StatusOr<v1::Approval> Approvals::Withdraw(std::string_view sidecar_id,
                                                 const v1::WithdrawApprovalRequest& request) {
  const Actor actor{
      .name = fmt::format("sidecars/{}", sidecar_id), .comment = request.reason(), .session_id = request.session_id()};
  for (int race = 0; race < kRaces; ++race) {
    POSTERN_ASSIGN_OR_RETURN(Approval approval, Fresh(request.id()));
    if (approval.IsFinal()) return approval.body();
    Approval cancelled = approval;
    POSTERN_RETURN_IF_ERROR(cancelled.Cancel(clock_.Now()));
    absl::StatusOr<Approval> stored =
        store_.RemoveWaiter(Waiter{request.session_id(), std::string(sidecar_id), ""}, cancelled);
    if (stored.ok()) {
      if (stored->version() != approval.version()) {
        POSTERN_RETURN_IF_ERROR(Record(stored->body(), actor, "completed"));
        Tell(stored->id());
      }
      return stored->body();
    }
    if (stored.status().code() != absl::StatusCode::kAborted) return stored.status();
  }
  return error::StaleEtag(request.id());
}

// --- For the token room ------------------------------------------------------------------------------------------

Approval Approvals::MakeTokenApproval(v1::Approval body, std::string owner) const {
  const absl::Time now = clock_.Now();
  body.set_id(NewId(kApprovalPrefix, now, random_));
  body.set_kind(v1::APPROVAL_KIND_TOKEN);
  *body.mutable_create_time() = ToTimestamp(now);
  const int64_t ttl =
      WindowOr(absl::ToInt64Seconds(FromTimestamp(body.request_expire_time()) - now), kDefaultRequestTtl);
  *body.mutable_request_expire_time() = ToTimestamp(now + absl::Seconds(ttl));
  body.set_use_within_seconds(WindowOr(body.use_within_seconds(), kDefaultUseWithin));
  return Approval::Open(std::move(body), std::move(owner));
}

void Approvals::Announce(const Approval& approval) { Tell(approval.id()); }

absl::Status Approvals::Settle(std::string_view id) { return Fresh(id).status(); }

absl::Status Approvals::ClaimForToken(std::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(const Approval approval, Fresh(id));
  if (approval.body().state() == v1::APPROVAL_USED) return absl::OkStatus();
  return Apply(id, Actor{.name = fmt::format("agents/{}", approval.body().agent())},
               [this](Approval& current, absl::Time now) -> absl::Status {
                 // Another request of the same agent may have come first; it got the same grant's token.
                 if (current.body().state() == v1::APPROVAL_USED) return absl::OkStatus();
                 POSTERN_RETURN_IF_ERROR(CheckFreeze(current.body(), now));
                 return current.Claim({}, now);
               })
      .status();
}

absl::Status Approvals::CancelForGrant(std::string_view grant_id) {
  ApprovalFilter filter{.grant_id = std::string(grant_id), .limit = 200};
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<Approval> page, store_.List(filter));
    for (const Approval& approval : page) {
      if (approval.IsFinal()) continue;
      const absl::StatusOr<v1::Approval> cancelled =
          Apply(approval.id(), Actor{.name = "control plane", .comment = "the grant was revoked"},
                [](Approval& current, absl::Time now) { return current.Cancel(now); });
      // One that was decided, claimed or expired in this moment needs no cancelling.
      if (!cancelled.ok() && cancelled.status().code() != absl::StatusCode::kFailedPrecondition) {
        return cancelled.status();
      }
    }
    if (page.size() < static_cast<size_t>(filter.limit)) return absl::OkStatus();
    filter.before_id = page.back().id();
  }
}

// --- Watching and the clock --------------------------------------------------------------------------------------

int64_t Approvals::Subscribe(Watcher watcher) {
  absl::MutexLock lock(&watchers_mu_);
  const int64_t subscription = next_subscription_++;
  watchers_.emplace(subscription, std::move(watcher));
  return subscription;
}

void Approvals::Unsubscribe(int64_t subscription) {
  absl::MutexLock lock(&watchers_mu_);
  watchers_.erase(subscription);
}

absl::Status Approvals::TellOverdue(std::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(const Approval approval, store_.Get(id));
  if (clock_.Now() < approval.ReviewDeadline()) return absl::OkStatus();
  POSTERN_RETURN_IF_ERROR(
      Alarm(approval.body(), "REVIEW_OVERDUE",
            fmt::format("the glass that {} broke was not reviewed in time", approval.body().broken_glass().by())));
  const absl::Status told = Apply(id, Actor{.name = "clock"}, [](Approval& current, absl::Time now) {
                              current.MarkOverdue(now);
                              return absl::OkStatus();
                            }).status();
  return told;
}

absl::Status Approvals::Alarm(const v1::Approval& approval, std::string_view action, std::string_view what) {
  v1::AuditRecord record;
  record.set_kind(v1::ALARM);
  *record.mutable_time() = ToTimestamp(clock_.Now());
  record.set_agent(approval.agent());
  record.set_on_behalf_of(approval.on_behalf_of());
  record.set_grant_id(approval.grant_id());
  record.set_target(approval.target());
  record.set_database(approval.database());
  record.set_approval_id(approval.id());
  record.set_rule(approval.rule());
  record.set_action(std::string(action));
  record.set_object(approval.id());
  (*record.mutable_detail())["what"] = std::string(what);
  obs::Log(obs::Level::kWarning, "alarm",
           {{"action", std::string(action)}, {"approval", approval.id()}, {"what", std::string(what)}});
  return audit_.Record(std::move(record));
}

void Approvals::ExpireDue() {
  while (true) {
    const absl::StatusOr<std::vector<Approval>> due = store_.Due(clock_.Now(), kExpireBatch);
    if (!due.ok() || due->empty()) return;
    for (const Approval& approval : *due) {
      if (!Fresh(approval.id()).ok() || !TellOverdue(approval.id()).ok()) return;
    }
  }
}

void Approvals::WakeTimer() {
  absl::MutexLock lock(&timer_mu_);
  wake_ = true;
}

void Approvals::RunTimer() {
  while (true) {
    ExpireDue();
    const absl::StatusOr<absl::Time> next = store_.NextDeadline();
    absl::Duration wait = kRetryAfterStoreError;
    if (next.ok()) {
      const absl::Duration left = *next - clock_.Now();
      // Still due: the store would not take it. Not again at once.
      wait = left <= absl::ZeroDuration() ? kRetryAfterStoreError : std::min(left, kLongestWait);
    }
    absl::MutexLock lock(&timer_mu_);
    timer_mu_.AwaitWithTimeout(absl::Condition(
                                   +[](Approvals* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->timer_mu_) {
                                     return self->stopping_ || self->wake_;
                                   },
                                   this),
                               wait);
    if (stopping_) return;
    wake_ = false;
  }
}

}  // namespace postern::approval
