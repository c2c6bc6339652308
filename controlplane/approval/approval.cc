#include "controlplane/approval/approval.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "common/crypto/hash.h"
#include "controlplane/approval/quorum.h"
#include "controlplane/approval/standing_store.h"
#include "controlplane/identity/caller.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace postern::approval {
namespace error {
namespace {

std::string_view Word(v1::ApprovalState state) {
  switch (state) {
    case v1::APPROVAL_APPROVED:
      return "approved";
    case v1::APPROVAL_DENIED:
      return "denied";
    case v1::APPROVAL_EXPIRED:
      return "expired";
    case v1::APPROVAL_CANCELLED:
      return "cancelled";
    case v1::APPROVAL_USED:
      return "used";
    default:
      return "pending";
  }
}

}  // namespace

absl::Status NotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "APPROVAL_NOT_FOUND", fmt::format("there is no approval {}", id),
               "`postern approval list` shows those that you may see");
}

absl::Status AlreadyDecided(const v1::Approval& approval) {
  return Error(absl::StatusCode::kFailedPrecondition, "APPROVAL_ALREADY_DECIDED",
               fmt::format("approval {} is {}", approval.id(), Word(approval.state())),
               "a request that is needed again must be made again",
               {{"approval", approval.id()}, {"state", v1::ApprovalState_Name(approval.state())}});
}

absl::Status SelfApproval(std::string_view id) {
  return Error(absl::StatusCode::kPermissionDenied, "SELF_APPROVAL",
               fmt::format("approval {} is for a request of your own or of an agent that you own", id),
               "ask another approver", {{"approval", std::string(id)}});
}

absl::Status NotAnApprover(std::string_view id) {
  return Error(absl::StatusCode::kPermissionDenied, "NOT_AN_APPROVER",
               fmt::format("only a person in the groups that approval {} names may decide it", id),
               "`postern approval show` names the groups", {{"approval", std::string(id)}});
}

absl::Status AlreadyVoted(std::string_view id) {
  return Error(absl::StatusCode::kFailedPrecondition, "ALREADY_VOTED",
               fmt::format("you have approved {} already, and it needs another person", id), "ask another approver",
               {{"approval", std::string(id)}});
}

absl::Status NotUsable(std::string_view id, std::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "APPROVAL_NOT_USABLE",
               fmt::format("approval {} cannot be used: {}", id, why), "request it again",
               {{"approval", std::string(id)}});
}

absl::Status StaleEtag(std::string_view id) {
  return Error(absl::StatusCode::kAborted, "STALE_ETAG", fmt::format("approval {} has changed since you saw it", id),
               "look at it again, then decide", {{"approval", std::string(id)}});
}

absl::Status Frozen(std::string_view id, std::string_view freeze, absl::Time until) {
  return Error(
      absl::StatusCode::kFailedPrecondition, "CHANGE_FREEZE",
      fmt::format("approval {} cannot go on: the change freeze {} lasts until {}", id, freeze,
                  StdView(absl::FormatTime(absl::RFC3339_sec, until, absl::UTCTimeZone()))),
      "wait for its end; where the rule allows it, `postern approval break-glass` releases the request at once",
      {{"approval", std::string(id)}, {"freeze", std::string(freeze)}});
}

absl::Status TemplateNotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "TEMPLATE_NOT_FOUND", fmt::format("there is no template {}", id),
               "`postern approval template list` shows those that live");
}

absl::Status DelegationNotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "DELEGATION_NOT_FOUND", fmt::format("there is no delegation {}", id),
               "`postern approval delegation list` shows those that have not ended");
}

absl::Status TemplateNotAllowed(std::string_view id, std::string_view why) {
  return Error(absl::StatusCode::kInvalidArgument, "TEMPLATE_NOT_ALLOWED",
               fmt::format("the shape of approval {} cannot be approved: {}", id, why),
               "approve this one statement, or stay within what the rule's `hold.template` allows",
               {{"approval", std::string(id)}});
}

}  // namespace error

namespace {

constexpr absl::Duration kReviewWithin = absl::Hours(24);

// People's ids are e-mail addresses: no spelling of one makes another person.
bool SamePerson(std::string_view a, std::string_view b) {
  return !a.empty() && absl::EqualsIgnoreCase(AbslView(a), AbslView(b));
}

template <typename Message>
std::string Deterministic(const Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

bool IsApprover(const v1::Principal& person) {
  return person.kind() == v1::PERSON &&
         std::any_of(person.roles().begin(), person.roles().end(),
                     [](const std::string& role) { return role == identity::kRoleApprover; });
}

template <typename Groups>
bool HasGroup(const Groups& groups, std::string_view group) {
  return std::any_of(groups.begin(), groups.end(), [group](const std::string& own) { return own == group; });
}

// In one of `wanted`; of no wanted groups everybody is.
template <typename Groups, typename Wanted>
bool InAny(const Groups& groups, const Wanted& wanted) {
  return wanted.empty() ||
         std::any_of(wanted.begin(), wanted.end(), [&](const std::string& group) { return HasGroup(groups, group); });
}

absl::Status CommentMissing() {
  return Error(absl::StatusCode::kInvalidArgument, "COMMENT_MISSING", "say why, in a comment", "add --comment");
}

}  // namespace

std::string DigestOf(const v1::StatementBinding& binding) { return crypto::Sha256(Deterministic(binding)); }

std::string LikenessOf(const v1::Approval& approval) {
  v1::StatementBinding what;
  what.set_target(approval.target());
  what.set_database(approval.database());
  // Without a shape, requests that do the same to the same things are alike; of tokens, those that ask for the same.
  std::string text = approval.shape().key();
  const auto& parts = approval.kind() == v1::APPROVAL_KIND_TOKEN ? approval.requested_do() : approval.effects();
  if (text.empty()) text = fmt::format("{}\n{}", fmt::join(parts, "\n"), fmt::join(approval.requested_objects(), "\n"));
  what.set_sql(text);
  return crypto::Sha256(Deterministic(what));
}

std::string TemplateKeyOf(const v1::Approval& approval) {
  if (approval.kind() != v1::APPROVAL_KIND_STATEMENT || !approval.shape().template_able() ||
      approval.shape().key().empty()) {
    return {};
  }
  v1::Approval bound;
  *bound.mutable_binding() = approval.binding();
  bound.mutable_binding()->set_sql(approval.shape().key());
  bound.mutable_binding()->clear_values();
  bound.mutable_binding()->clear_grant_id();
  bound.set_on_behalf_of(approval.on_behalf_of());
  bound.set_rule(approval.rule());
  *bound.mutable_effects() = approval.effects();
  return crypto::Sha256(Deterministic(bound));
}

Approval Approval::Open(v1::Approval body, std::string owner) {
  body.set_state(v1::APPROVAL_PENDING);
  body.clear_votes();
  body.set_approvals_needed(std::max(1, body.approvals_needed()));
  return Approval(std::move(body), std::move(owner), 0);
}

Approval::Approval(v1::Approval body, std::string owner, int64_t version)
    : body_(std::move(body)), owner_(std::move(owner)), version_(version) {
  body_.set_etag(std::to_string(version));
}

absl::Time Approval::Deadline() const {
  switch (body_.state()) {
    case v1::APPROVAL_PENDING:
      return FromTimestamp(body_.request_expire_time());
    case v1::APPROVAL_APPROVED:
      return FromTimestamp(body_.use_expire_time());
    default:
      return absl::InfiniteFuture();
  }
}

bool Approval::IsFinal() const {
  return body_.state() != v1::APPROVAL_PENDING && body_.state() != v1::APPROVAL_APPROVED;
}

absl::Time Approval::ReviewDeadline() const {
  const v1::BrokenGlass& glass = body_.broken_glass();
  if (!body_.has_broken_glass() || glass.has_review_time() || glass.overdue()) return absl::InfiniteFuture();
  return FromTimestamp(glass.review_due_time());
}

bool Approval::MayDecide(const v1::Principal& person) const {
  return IsApprover(person) && InAny(person.groups(), body_.approver_groups());
}

bool Approval::MayDecide(const v1::Principal& person, const v1::Delegation& delegation) const {
  return IsApprover(person) && SamePerson(person.id(), delegation.to()) &&
         InAny(delegation.groups(), body_.approver_groups());
}

bool Approval::MayBreakGlass(const v1::Principal& person) const {
  return person.kind() == v1::PERSON && !body_.hold().break_glass().empty() &&
         InAny(person.groups(), body_.hold().break_glass());
}

bool Approval::IsOwn(const v1::Principal& person) const {
  return SamePerson(person.id(), body_.agent()) || SamePerson(person.id(), body_.on_behalf_of()) ||
         SamePerson(person.id(), owner_) || (!owner_.empty() && HasGroup(person.groups(), owner_));
}

absl::Status Approval::CheckVoter(const v1::Principal& person, const v1::Delegation* delegation) const {
  if (delegation == nullptr ? !MayDecide(person) : !MayDecide(person, *delegation)) return error::NotAnApprover(id());
  if (IsOwn(person)) return error::SelfApproval(id());
  if (delegation != nullptr) {
    // Nor does anyone have it approved by somebody who stands in for them.
    v1::Principal behind;
    behind.set_id(delegation->from());
    *behind.mutable_groups() = delegation->groups();
    if (IsOwn(behind)) return error::SelfApproval(id());
  }
  if (body_.state() != v1::APPROVAL_PENDING) return error::AlreadyDecided(body_);
  return absl::OkStatus();
}

absl::Status Approval::CheckTerms(const v1::TemplateTerms& terms) const {
  const v1::TemplateSettings& allowed = body_.hold().template_();
  if (!body_.hold().has_template_()) return error::TemplateNotAllowed(id(), "its rule does not allow it");
  if (TemplateKeyOf(body_).empty()) {
    return error::TemplateNotAllowed(id(),
                                     "it is not one plain INSERT, UPDATE, DELETE or MERGE in a message of its own");
  }
  if (terms.rows_max() < 1 || terms.rows_max() > allowed.rows_max() || terms.for_seconds() < 1 ||
      terms.for_seconds() > allowed.for_seconds()) {
    return error::TemplateNotAllowed(id(), fmt::format("its rule allows up to {} rows, for up to {} seconds",
                                                       allowed.rows_max(), allowed.for_seconds()));
  }
  return absl::OkStatus();
}

v1::Vote* Approval::AddVote(const v1::Principal& person, bool approve, const Ballot& ballot, absl::Time now) {
  v1::Vote* vote = body_.add_votes();
  vote->set_principal(person.id());
  vote->set_approve(approve);
  vote->set_comment(std::string(ballot.comment));
  *vote->mutable_time() = ToTimestamp(now);
  if (ballot.delegation != nullptr) vote->set_on_behalf_of(ballot.delegation->from());
  const auto& groups = ballot.delegation != nullptr ? ballot.delegation->groups() : person.groups();
  for (const std::string& group : body_.approver_groups()) {
    if (HasGroup(groups, group)) vote->add_groups(group);
  }
  if (ballot.terms != nullptr) *vote->mutable_template_() = *ballot.terms;
  return vote;
}

bool Approval::HasQuorum() const {
  // Each vote is of another person, so votes count people. One who is in two groups still has one vote.
  if (body_.hold().steps().empty()) return body_.votes_size() >= body_.approvals_needed();
  return StepsFilled(body_.hold(), body_.votes());
}

void Approval::Settle(v1::ApprovalState state, absl::Time now) {
  body_.set_state(state);
  *body_.mutable_decide_time() = ToTimestamp(now);
  if (state != v1::APPROVAL_APPROVED) return;
  *body_.mutable_use_expire_time() = ToTimestamp(now + absl::Seconds(body_.use_within_seconds()));
}

void Approval::AgreeOnTemplate() {
  v1::TemplateTerms agreed = body_.votes(0).template_();
  for (const v1::Vote& vote : body_.votes()) {
    if (!vote.has_template_()) return;
    agreed.set_rows_max(std::min(agreed.rows_max(), vote.template_().rows_max()));
    agreed.set_for_seconds(std::min(agreed.for_seconds(), vote.template_().for_seconds()));
  }
  body_.set_rows_max(agreed.rows_max());
  *body_.mutable_template_terms() = agreed;
}

absl::Status Approval::Approve(const v1::Principal& person, const Ballot& ballot, absl::Time now) {
  POSTERN_RETURN_IF_ERROR(CheckVoter(person, ballot.delegation));
  if (ballot.terms != nullptr) POSTERN_RETURN_IF_ERROR(CheckTerms(*ballot.terms));
  const std::string_view behind = ballot.delegation == nullptr ? std::string_view() : ballot.delegation->from();
  for (const v1::Vote& vote : body_.votes()) {
    for (const std::string_view name : {std::string_view(person.id()), behind}) {
      if (SamePerson(vote.principal(), name) || SamePerson(vote.on_behalf_of(), name)) return error::AlreadyVoted(id());
    }
  }
  AddVote(person, /*approve=*/true, ballot, now);
  if (!HasQuorum()) return absl::OkStatus();
  AgreeOnTemplate();
  Settle(v1::APPROVAL_APPROVED, now);
  return absl::OkStatus();
}

absl::Status Approval::Deny(const v1::Principal& person, const Ballot& ballot, absl::Time now) {
  POSTERN_RETURN_IF_ERROR(CheckVoter(person, ballot.delegation));
  AddVote(person, /*approve=*/false, {.comment = ballot.comment, .delegation = ballot.delegation}, now);
  Settle(v1::APPROVAL_DENIED, now);
  return absl::OkStatus();
}

absl::Status Approval::BreakGlass(const v1::Principal& person, std::string_view comment, absl::Time now) {
  if (!MayBreakGlass(person)) {
    return Error(absl::StatusCode::kPermissionDenied, "BREAK_GLASS_NOT_ALLOWED",
                 fmt::format("the rule of approval {} does not let you release it alone", id()),
                 "`hold.break_glass` of a rule names the groups that may", {{"approval", id()}});
  }
  if (IsOwn(person)) return error::SelfApproval(id());
  if (body_.state() != v1::APPROVAL_PENDING) return error::AlreadyDecided(body_);
  if (comment.empty()) return CommentMissing();
  AddVote(person, /*approve=*/true, {.comment = comment}, now);
  v1::BrokenGlass* glass = body_.mutable_broken_glass();
  glass->set_by(person.id());
  glass->set_comment(std::string(comment));
  *glass->mutable_time() = ToTimestamp(now);
  *glass->mutable_review_due_time() = ToTimestamp(now + kReviewWithin);
  Settle(v1::APPROVAL_APPROVED, now);
  return absl::OkStatus();
}

absl::Status Approval::Review(const v1::Principal& person, bool ok, std::string_view comment, absl::Time now) {
  v1::BrokenGlass* glass = body_.has_broken_glass() ? body_.mutable_broken_glass() : nullptr;
  if (glass == nullptr || glass->has_review_time()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_REVIEW_OWED",
                 fmt::format("approval {} owes no review", id()),
                 "`postern approval list --review` shows those that do", {{"approval", id()}});
  }
  if (!MayDecide(person)) return error::NotAnApprover(id());
  if (IsOwn(person) || SamePerson(person.id(), glass->by())) {
    return Error(absl::StatusCode::kPermissionDenied, "SELF_REVIEW",
                 fmt::format("you have a part in approval {}, so another person must review it", id()),
                 "ask another approver", {{"approval", id()}});
  }
  if (comment.empty()) return CommentMissing();
  glass->set_reviewed_by(person.id());
  glass->set_review_ok(ok);
  glass->set_review_comment(std::string(comment));
  *glass->mutable_review_time() = ToTimestamp(now);
  return absl::OkStatus();
}

bool Approval::MarkOverdue(absl::Time now) {
  if (now < ReviewDeadline()) return false;
  body_.mutable_broken_glass()->set_overdue(true);
  return true;
}

void Approval::ApproveBy(const v1::ApprovalTemplate& by, absl::Time now) {
  for (const std::string& approver : by.approvers()) {
    v1::Vote* vote = body_.add_votes();
    vote->set_principal(approver);
    vote->set_approve(true);
    vote->set_comment(fmt::format("by template {}", by.id()));
    *vote->mutable_time() = ToTimestamp(now);
  }
  body_.set_template_id(by.id());
  body_.set_by_template(true);
  body_.set_rows_max(by.terms().rows_max());
  Settle(v1::APPROVAL_APPROVED, now);
}

absl::Status Approval::Cancel(absl::Time now) {
  if (IsFinal()) return error::AlreadyDecided(body_);
  body_.set_state(v1::APPROVAL_CANCELLED);
  if (!body_.has_decide_time()) *body_.mutable_decide_time() = ToTimestamp(now);
  return absl::OkStatus();
}

absl::Status Approval::Claim(std::string_view binding_digest, absl::Time now) {
  if (body_.state() != v1::APPROVAL_APPROVED) {
    return error::NotUsable(id(), fmt::format("it is {}", error::Word(body_.state())));
  }
  if (binding_digest != body_.binding_digest()) return error::NotUsable(id(), "it is for another statement");
  body_.set_state(v1::APPROVAL_USED);
  *body_.mutable_use_time() = ToTimestamp(now);
  if (const int64_t run = body_.hold().run_within_seconds(); run > 0) {
    *body_.mutable_run_expire_time() = ToTimestamp(now + absl::Seconds(run));
  }
  return absl::OkStatus();
}

bool Approval::Expire(absl::Time now) {
  if (IsFinal() || now < Deadline()) return false;
  body_.set_state(v1::APPROVAL_EXPIRED);
  if (!body_.has_decide_time()) *body_.mutable_decide_time() = ToTimestamp(now);
  return true;
}

}  // namespace postern::approval
