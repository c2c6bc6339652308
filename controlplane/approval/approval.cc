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
#include "controlplane/identity/caller.h"
#include "fmt/format.h"
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

}  // namespace error

namespace {

// People's ids are e-mail addresses: no spelling of one makes another person.
bool SamePerson(std::string_view a, std::string_view b) {
  return !a.empty() && absl::EqualsIgnoreCase(AbslView(a), AbslView(b));
}

bool InGroup(const v1::Principal& person, std::string_view group) {
  return std::any_of(person.groups().begin(), person.groups().end(),
                     [group](const std::string& own) { return own == group; });
}

}  // namespace

std::string DigestOf(const v1::StatementBinding& binding) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    binding.SerializeToCodedStream(&coded);
  }
  return crypto::Sha256(bytes);
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

bool Approval::MayDecide(const v1::Principal& person) const {
  if (person.kind() != v1::PERSON) return false;
  const bool approver = std::any_of(person.roles().begin(), person.roles().end(),
                                    [](const std::string& role) { return role == identity::kRoleApprover; });
  if (!approver) return false;
  return body_.approver_groups().empty() ||
         std::any_of(body_.approver_groups().begin(), body_.approver_groups().end(),
                     [&](const std::string& group) { return InGroup(person, group); });
}

bool Approval::IsOwn(const v1::Principal& person) const {
  return SamePerson(person.id(), body_.agent()) || SamePerson(person.id(), body_.on_behalf_of()) ||
         SamePerson(person.id(), owner_) || (!owner_.empty() && InGroup(person, owner_));
}

absl::Status Approval::CheckVoter(const v1::Principal& person) const {
  if (!MayDecide(person)) return error::NotAnApprover(id());
  if (IsOwn(person)) return error::SelfApproval(id());
  if (body_.state() != v1::APPROVAL_PENDING) return error::AlreadyDecided(body_);
  return absl::OkStatus();
}

void Approval::AddVote(const v1::Principal& person, bool approve, std::string_view comment, absl::Time now) {
  v1::Vote* vote = body_.add_votes();
  vote->set_principal(person.id());
  vote->set_approve(approve);
  vote->set_comment(std::string(comment));
  *vote->mutable_time() = ToTimestamp(now);
}

absl::Status Approval::Approve(const v1::Principal& person, std::string_view comment, absl::Time now) {
  POSTERN_RETURN_IF_ERROR(CheckVoter(person));
  for (const v1::Vote& vote : body_.votes()) {
    if (SamePerson(vote.principal(), person.id())) return error::AlreadyVoted(id());
  }
  AddVote(person, /*approve=*/true, comment, now);
  // Each vote is of another person, so votes count people. One who is in two groups still has one vote.
  if (body_.votes_size() < body_.approvals_needed()) return absl::OkStatus();
  body_.set_state(v1::APPROVAL_APPROVED);
  *body_.mutable_decide_time() = ToTimestamp(now);
  *body_.mutable_use_expire_time() = ToTimestamp(now + absl::Seconds(body_.use_within_seconds()));
  return absl::OkStatus();
}

absl::Status Approval::Deny(const v1::Principal& person, std::string_view comment, absl::Time now) {
  POSTERN_RETURN_IF_ERROR(CheckVoter(person));
  AddVote(person, /*approve=*/false, comment, now);
  body_.set_state(v1::APPROVAL_DENIED);
  *body_.mutable_decide_time() = ToTimestamp(now);
  return absl::OkStatus();
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
  return absl::OkStatus();
}

bool Approval::Expire(absl::Time now) {
  if (IsFinal() || now < Deadline()) return false;
  body_.set_state(v1::APPROVAL_EXPIRED);
  if (!body_.has_decide_time()) *body_.mutable_decide_time() = ToTimestamp(now);
  return true;
}

}  // namespace postern::approval
