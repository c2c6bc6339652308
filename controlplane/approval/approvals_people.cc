// What people ask of approvals: looking, deciding, breaking the glass, standing in, and templates.
#include <algorithm>
#include <utility>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/approval/approvals.h"
#include "fmt/format.h"

namespace postern::approval {
namespace {

constexpr size_t kLongestComment = 1000;
constexpr absl::Duration kLongestDelegation = absl::Hours(24 * 90);
constexpr int kEarlierOnes = 5;

bool SeesAll(const identity::Caller& caller) {
  return caller.HasRole(identity::kRoleAdmin) || caller.HasRole(identity::kRoleOperator) ||
         caller.HasRole(identity::kRoleAuditor);
}

absl::Status CheckComment(std::string_view comment) {
  if (comment.size() <= kLongestComment) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "COMMENT_TOO_LONG",
               fmt::format("the comment is longer than {} bytes", kLongestComment));
}

std::string DecisionInWords(const v1::Vote& vote) {
  return fmt::format(
      "{}{} {}{}", vote.principal(), vote.on_behalf_of().empty() ? "" : fmt::format(" for {}", vote.on_behalf_of()),
      vote.approve() ? "approved" : "denied", vote.comment().empty() ? "" : fmt::format(": {}", vote.comment()));
}

}  // namespace

// --- Looking -----------------------------------------------------------------------------------------------------

bool Approvals::MaySee(const identity::Caller& caller, const v1::Approval& approval) const {
  if (caller.IsAgent()) return caller.id() == approval.agent();
  if (!caller.IsPerson()) return false;
  if (SeesAll(caller)) return true;
  const Approval seen(approval, {}, 0);
  return seen.MayDecide(caller.principal) || seen.MayBreakGlass(caller.principal) ||
         DelegationFor(caller, approval).has_value();
}

std::optional<v1::Approval> Approvals::ViewFor(const identity::Caller& caller, const v1::Approval& approval) const {
  if (!MaySee(caller, approval)) return std::nullopt;
  v1::Approval view = approval;
  if (caller.IsAgent()) view.clear_preview();
  if (freeze_at_ != nullptr && approval.state() == v1::APPROVAL_PENDING) {
    const absl::StatusOr<std::optional<Freeze>> freeze = freeze_at_(approval, clock_.Now());
    if (freeze.ok() && freeze->has_value()) {
      view.set_freeze((*freeze)->message.empty() ? (*freeze)->name
                                                 : fmt::format("{}: {}", (*freeze)->name, (*freeze)->message));
      *view.mutable_freeze_until() = ToTimestamp((*freeze)->until);
    }
  }
  return view;
}

std::vector<v1::EarlierApproval> Approvals::EarlierOnes(const v1::Approval& approval) const {
  std::vector<v1::EarlierApproval> earlier;
  const auto found = store_.List({.likeness = LikenessOf(approval), .before_id = approval.id(), .limit = kEarlierOnes});
  // They are a help; without them the request is shown all the same.
  if (!found.ok()) return earlier;
  for (const Approval& one : *found) {
    v1::EarlierApproval& entry = earlier.emplace_back();
    entry.set_id(one.id());
    entry.set_state(one.body().state());
    entry.set_agent(one.body().agent());
    *entry.mutable_create_time() = one.body().create_time();
    for (const v1::Vote& vote : one.body().votes()) entry.add_decisions(DecisionInWords(vote));
  }
  return earlier;
}

absl::StatusOr<v1::Approval> Approvals::Get(const identity::Caller& caller, std::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(const Approval approval, Fresh(id));
  std::optional<v1::Approval> view = ViewFor(caller, approval.body());
  if (!view.has_value()) return error::NotFound(id);
  if (caller.IsPerson()) {
    for (v1::EarlierApproval& earlier : EarlierOnes(*view)) *view->add_earlier() = std::move(earlier);
  }
  return *std::move(view);
}

absl::Status Approvals::List(const identity::Caller& caller, const v1::ListApprovalsRequest& request,
                             v1::ListApprovalsResponse* response) {
  const int wanted = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 1000);
  // What is due is expired first, so that no answer shows a state that has passed.
  ExpireDue();
  ApprovalFilter filter{
      .state = request.state(), .review_owed = request.review_owed(), .before_id = request.page_token(), .limit = 200};
  if (caller.IsAgent()) filter.agent = caller.id();
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<Approval> page, store_.List(filter));
    for (const Approval& approval : page) {
      std::optional<v1::Approval> view = ViewFor(caller, approval.body());
      if (!view.has_value()) continue;
      if (response->approvals_size() == wanted) {
        response->set_next_page_token(response->approvals(wanted - 1).id());
        return absl::OkStatus();
      }
      *response->add_approvals() = *std::move(view);
    }
    if (page.size() < static_cast<size_t>(filter.limit)) return absl::OkStatus();
    filter.before_id = page.back().id();
  }
}

// --- Deciding ----------------------------------------------------------------------------------------------------

absl::Status Approvals::CheckFreeze(const v1::Approval& approval, absl::Time now) const {
  if (freeze_at_ == nullptr || approval.has_broken_glass()) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(const std::optional<Freeze> freeze, freeze_at_(approval, now));
  return freeze.has_value() ? error::Frozen(approval.id(), freeze->name, freeze->until) : absl::OkStatus();
}

absl::StatusOr<v1::Approval> Approvals::Decide(const identity::Caller& caller, const v1::DecideApprovalRequest& request,
                                               bool approve) {
  POSTERN_RETURN_IF_ERROR(CheckComment(request.comment()));
  const Actor actor{.name = fmt::format("people/{}", caller.id()), .comment = request.comment()};
  const auto vote = [&](Approval& approval, absl::Time now) {
    const std::optional<v1::Delegation> delegation = DelegationFor(caller, approval.body());
    const Ballot ballot{.comment = request.comment(),
                        .delegation = delegation.has_value() ? &*delegation : nullptr,
                        .terms = request.has_template_() ? &request.template_() : nullptr};
    return approve ? approval.Approve(caller.principal, ballot, now) : approval.Deny(caller.principal, ballot, now);
  };
  absl::StatusOr<v1::Approval> decided =
      Apply(request.id(), actor, [&](Approval& approval, absl::Time now) -> absl::Status {
        if (!MaySee(caller, approval.body())) return error::NotFound(request.id());
        Approval trial(approval);
        POSTERN_RETURN_IF_ERROR(vote(trial, now));
        if (approve) POSTERN_RETURN_IF_ERROR(CheckFreeze(approval.body(), now));
        // Last, so that "it is decided" and "it is your own" are said rather than "it has changed".
        if (!request.etag().empty() && request.etag() != approval.body().etag()) return error::StaleEtag(request.id());
        POSTERN_RETURN_IF_ERROR(vote(approval, now));
        return absl::OkStatus();
      });
  if (decided.ok() && decided->state() == v1::APPROVAL_APPROVED && decided->has_template_terms()) {
    // The decision stands whatever becomes of the template; without it the next request is asked about again.
    MakeTemplate(*decided).IgnoreError();
  }
  return decided;
}

absl::StatusOr<v1::Approval> Approvals::Cancel(const identity::Caller& caller,
                                               const v1::CancelApprovalRequest& request) {
  return Apply(request.id(), Actor{.name = fmt::format("agents/{}", caller.id())},
               [&](Approval& approval, absl::Time now) -> absl::Status {
                 if (approval.body().agent() != caller.id()) return error::NotFound(request.id());
                 if (approval.body().state() != v1::APPROVAL_PENDING) return error::AlreadyDecided(approval.body());
                 return approval.Cancel(now);
               });
}

absl::StatusOr<v1::Approval> Approvals::BreakGlass(const identity::Caller& caller,
                                                   const v1::BreakGlassRequest& request) {
  POSTERN_RETURN_IF_ERROR(CheckComment(request.comment()));
  const Actor actor{.name = fmt::format("people/{}", caller.id()), .comment = request.comment()};
  return Apply(request.id(), actor, [&](Approval& approval, absl::Time now) -> absl::Status {
    if (!MaySee(caller, approval.body())) return error::NotFound(request.id());
    Approval trial(approval);
    POSTERN_RETURN_IF_ERROR(trial.BreakGlass(caller.principal, request.comment(), now));
    if (!request.etag().empty() && request.etag() != approval.body().etag()) return error::StaleEtag(request.id());
    // Loud before it is done: without the alarm on record the glass stays whole.
    POSTERN_RETURN_IF_ERROR(Alarm(approval.body(), "GLASS_BROKEN",
                                  fmt::format("{} releases it alone: {}", caller.id(), request.comment())));
    approval = std::move(trial);
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::Approval> Approvals::Review(const identity::Caller& caller,
                                               const v1::ReviewApprovalRequest& request) {
  POSTERN_RETURN_IF_ERROR(CheckComment(request.comment()));
  const Actor actor{.name = fmt::format("people/{}", caller.id()), .comment = request.comment()};
  return Apply(request.id(), actor, [&](Approval& approval, absl::Time now) -> absl::Status {
    if (!MaySee(caller, approval.body())) return error::NotFound(request.id());
    return approval.Review(caller.principal, request.ok(), request.comment(), now);
  });
}

// --- Templates ---------------------------------------------------------------------------------------------------

absl::Status Approvals::MakeTemplate(const v1::Approval& approved) {
  const absl::Time now = clock_.Now();
  v1::ApprovalTemplate made;
  made.set_id(NewId(kTemplatePrefix, now, random_));
  made.set_approval_id(approved.id());
  made.set_agent(approved.agent());
  made.set_target(approved.target());
  made.set_sql(approved.binding().sql());
  *made.mutable_terms() = approved.template_terms();
  *made.mutable_create_time() = ToTimestamp(now);
  *made.mutable_expire_time() = ToTimestamp(now + absl::Seconds(approved.template_terms().for_seconds()));
  for (const v1::Vote& vote : approved.votes()) made.add_approvers(vote.principal());
  return standing_.InsertTemplate(made, TemplateKeyOf(approved));
}

absl::Status Approvals::CheckTemplate(const v1::Approval& approval, absl::Time now) const {
  if (!approval.by_template()) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(const v1::ApprovalTemplate by, standing_.GetTemplate(approval.template_id()));
  if (by.has_revoke_time()) return error::NotUsable(approval.id(), "its template was revoked");
  if (now >= FromTimestamp(by.expire_time())) return error::NotUsable(approval.id(), "its template has expired");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::ApprovalTemplate>> Approvals::Templates(bool all) const {
  return standing_.ListTemplates(clock_.Now(), all);
}

absl::StatusOr<v1::ApprovalTemplate> Approvals::RevokeTemplate(const identity::Caller& caller, std::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(const v1::ApprovalTemplate found, standing_.GetTemplate(id));
  POSTERN_ASSIGN_OR_RETURN(const Approval made_by, store_.Get(found.approval_id()));
  if (!MaySee(caller, made_by.body())) return error::TemplateNotFound(id);
  return standing_.RevokeTemplate(id, caller.id(), clock_.Now());
}

// --- Standing in -------------------------------------------------------------------------------------------------

absl::Status Approvals::LoadDelegations() {
  absl::MutexLock lock(&delegations_mu_);
  POSTERN_ASSIGN_OR_RETURN(delegations_, standing_.ListDelegations(clock_.Now()));
  return absl::OkStatus();
}

std::optional<v1::Delegation> Approvals::DelegationFor(const identity::Caller& caller,
                                                       const v1::Approval& approval) const {
  const Approval asked(approval, {}, 0);
  if (!caller.IsPerson() || asked.MayDecide(caller.principal)) return std::nullopt;
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&delegations_mu_);
  for (const v1::Delegation& delegation : delegations_) {
    const bool holds = now >= FromTimestamp(delegation.start_time()) && now < FromTimestamp(delegation.end_time());
    if (holds && asked.MayDecide(caller.principal, delegation)) return delegation;
  }
  return std::nullopt;
}

absl::StatusOr<v1::Delegation> Approvals::Delegate(const identity::Caller& caller,
                                                   const v1::CreateDelegationRequest& request) {
  POSTERN_RETURN_IF_ERROR(CheckComment(request.comment()));
  const absl::Time now = clock_.Now();
  const absl::Time start = request.has_start_time() ? FromTimestamp(request.start_time()) : now;
  const absl::Time end = FromTimestamp(request.end_time());
  const auto invalid = [](std::string_view what) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_DELEGATION", what,
                 "name the day on which it ends, at most 90 days after it begins");
  };
  if (end <= now || end <= start) return invalid("a delegation ends after it begins, and in the future");
  if (end - start > kLongestDelegation) return invalid("a delegation lasts for 90 days at most");
  if (request.to() == caller.id()) return invalid("nobody stands in for themselves");
  v1::Delegation made;
  made.set_id(NewId(kDelegationPrefix, now, random_));
  made.set_from(caller.id());
  made.set_to(request.to());
  // Only what the caller has by themselves: what was handed to them is not handed on.
  *made.mutable_groups() = caller.principal.groups();
  made.set_comment(request.comment());
  *made.mutable_create_time() = ToTimestamp(now);
  *made.mutable_start_time() = ToTimestamp(start);
  *made.mutable_end_time() = ToTimestamp(end);
  POSTERN_RETURN_IF_ERROR(standing_.InsertDelegation(made));
  POSTERN_RETURN_IF_ERROR(LoadDelegations());
  return made;
}

std::vector<v1::Delegation> Approvals::Delegations() const {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&delegations_mu_);
  std::vector<v1::Delegation> live;
  std::copy_if(delegations_.begin(), delegations_.end(), std::back_inserter(live),
               [&](const v1::Delegation& delegation) { return now < FromTimestamp(delegation.end_time()); });
  return live;
}

absl::Status Approvals::EndDelegation(const identity::Caller& caller, std::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(const v1::Delegation found, standing_.GetDelegation(id));
  if (found.from() != caller.id() && !caller.HasRole(identity::kRoleAdmin)) return error::DelegationNotFound(id);
  POSTERN_RETURN_IF_ERROR(standing_.DeleteDelegation(id));
  return LoadDelegations();
}

}  // namespace postern::approval
