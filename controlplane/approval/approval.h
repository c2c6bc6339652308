// One approval: the rules of who may decide it and what each decision makes of it. Pure: no store, no clock of its own.
//
//   PENDING ──enough distinct people──▶ APPROVED ──Claim──▶ USED
//      │ one denial: DENIED                 │ not used in time: EXPIRED
//      │ the requester withdraws: CANCELLED │ withdrawn: CANCELLED
//      └ not decided in time: EXPIRED
//
// An APPROVED one that somebody released alone, by breaking the glass, owes a review, whatever becomes of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "postern/v1/approval.pb.h"
#include "postern/v1/identity.pb.h"

namespace postern::approval {

namespace error {
// NOT_FOUND/APPROVAL_NOT_FOUND; also for those that the caller may not see.
absl::Status NotFound(std::string_view id);
// FAILED_PRECONDITION/APPROVAL_ALREADY_DECIDED.
absl::Status AlreadyDecided(const v1::Approval& approval);
// PERMISSION_DENIED/SELF_APPROVAL.
absl::Status SelfApproval(std::string_view id);
// PERMISSION_DENIED/NOT_AN_APPROVER.
absl::Status NotAnApprover(std::string_view id);
// FAILED_PRECONDITION/ALREADY_VOTED.
absl::Status AlreadyVoted(std::string_view id);
// FAILED_PRECONDITION/APPROVAL_NOT_USABLE.
absl::Status NotUsable(std::string_view id, std::string_view why);
// ABORTED/STALE_ETAG.
absl::Status StaleEtag(std::string_view id);
// FAILED_PRECONDITION/CHANGE_FREEZE.
absl::Status Frozen(std::string_view id, std::string_view freeze, absl::Time until);
// INVALID_ARGUMENT/TEMPLATE_NOT_ALLOWED.
absl::Status TemplateNotAllowed(std::string_view id, std::string_view why);
}  // namespace error

// SHA-256 over the deterministic serialization of `binding`: 32 bytes.
std::string DigestOf(const v1::StatementBinding& binding);

// What makes two requests alike: SHA-256 over where and what, the values and who asks apart.
std::string LikenessOf(const v1::Approval& approval);
// What a template binds: SHA-256 over everything that the request binds but the values and the grant, and over the
// person whose errand it is, the rule and the effects. Empty: no template can be for it.
std::string TemplateKeyOf(const v1::Approval& approval);

// One vote as it is cast.
struct Ballot {
  std::string_view comment = {};
  // The delegation by which the person votes in another's place; nullptr: for themselves.
  const v1::Delegation* delegation = nullptr;
  // The bounds within which the shape is approved; nullptr: this statement only.
  const v1::TemplateTerms* terms = nullptr;
};

class Approval {
 public:
  // A new PENDING one. `body` has everything but state, votes and etag. `owner` is the person or group that answers for
  // the agent; empty when nobody does.
  static Approval Open(v1::Approval body, std::string owner);
  // As it was stored.
  Approval(v1::Approval body, std::string owner, int64_t version);

  const v1::Approval& body() const { return body_; }
  const std::string& id() const { return body_.id(); }
  const std::string& owner() const { return owner_; }
  // Counts writes, from 1; the etag is made of it. 0: not stored yet.
  int64_t version() const { return version_; }

  // When it expires if nothing happens; InfiniteFuture once nothing can.
  absl::Time Deadline() const;
  // Nothing can change it any more, a review apart.
  bool IsFinal() const;
  // When the review that it owes must have come, or InfiniteFuture.
  absl::Time ReviewDeadline() const;

  // True if `person` holds the approver role and is in one of the approver groups (any approver, when none is named).
  bool MayDecide(const v1::Principal& person) const;
  // The same for who decides by `delegation`, in the groups of whoever handed over.
  bool MayDecide(const v1::Principal& person, const v1::Delegation& delegation) const;
  // True if `person` is in one of the groups that may break the glass.
  bool MayBreakGlass(const v1::Principal& person) const;
  // True if `person` is the requester: the person whose errand it is, or the agent's owner.
  bool IsOwn(const v1::Principal& person) const;

  // Each returns an error and changes nothing, or changes the state. All expect Expire(now) to have been called.
  absl::Status Approve(const v1::Principal& person, const Ballot& ballot, absl::Time now);
  absl::Status Approve(const v1::Principal& person, std::string_view comment, absl::Time now) {
    return Approve(person, Ballot{.comment = comment}, now);
  }
  absl::Status Deny(const v1::Principal& person, const Ballot& ballot, absl::Time now);
  absl::Status Deny(const v1::Principal& person, std::string_view comment, absl::Time now) {
    return Deny(person, Ballot{.comment = comment}, now);
  }
  // PENDING → APPROVED by one person alone; a review is owed.
  //   PERMISSION_DENIED/BREAK_GLASS_NOT_ALLOWED, INVALID_ARGUMENT/COMMENT_MISSING.
  absl::Status BreakGlass(const v1::Principal& person, std::string_view comment, absl::Time now);
  // Settles the review, whatever the state.
  //   FAILED_PRECONDITION/NO_REVIEW_OWED, PERMISSION_DENIED/SELF_REVIEW, INVALID_ARGUMENT/COMMENT_MISSING.
  absl::Status Review(const v1::Principal& person, bool ok, std::string_view comment, absl::Time now);
  // Notes that the review did not come in time. True if that changed it.
  bool MarkOverdue(absl::Time now);
  // PENDING → APPROVED by a template that it matches.
  void ApproveBy(const v1::ApprovalTemplate& by, absl::Time now);
  // PENDING or APPROVED → CANCELLED.
  absl::Status Cancel(absl::Time now);
  // APPROVED → USED. Token approvals have no digest and are claimed with an empty one.
  absl::Status Claim(std::string_view binding_digest, absl::Time now);
  // → EXPIRED if its deadline has come (it is expired at the deadline exactly). True if that changed it.
  bool Expire(absl::Time now);

 private:
  absl::Status CheckVoter(const v1::Principal& person, const v1::Delegation* delegation) const;
  absl::Status CheckTerms(const v1::TemplateTerms& terms) const;
  v1::Vote* AddVote(const v1::Principal& person, bool approve, const Ballot& ballot, absl::Time now);
  // Enough distinct people, each filling one place of one step.
  bool HasQuorum() const;
  void Settle(v1::ApprovalState state, absl::Time now);
  // The bounds that every vote agrees on, if all votes are for the shape.
  void AgreeOnTemplate();

  v1::Approval body_;
  std::string owner_;
  int64_t version_ = 0;
};

}  // namespace postern::approval
