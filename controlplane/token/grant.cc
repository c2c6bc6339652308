#include "controlplane/token/grant.h"

#include <string>

#include "common/base/timestamps.h"

namespace postern::grant {

absl::Time ExpireTime(const Grant& grant) {
  return grant.body.has_expire_time() ? FromTimestamp(grant.body.expire_time()) : absl::InfiniteFuture();
}

v1::GrantState StateAt(const Grant& grant, absl::Time now) {
  if (grant.body.state() == v1::GRANT_ACTIVE && now >= ExpireTime(grant)) return v1::GRANT_EXPIRED;
  return grant.body.state();
}

void Activate(Grant& grant, absl::Time now) {
  grant.body.set_state(v1::GRANT_ACTIVE);
  // Tokens carry whole seconds; the grant must not outlive or underlive its token.
  const absl::Time whole = absl::FromUnixSeconds(absl::ToUnixSeconds(now));
  *grant.body.mutable_expire_time() = ToTimestamp(whole + absl::Seconds(grant.ttl_seconds));
}

void Refuse(Grant& grant, v1::GrantState state, std::string_view reason) {
  grant.body.set_state(state);
  grant.body.set_state_reason(std::string(reason));
}

bool Revoke(Grant& grant, std::string_view reason, absl::Time now) {
  const v1::GrantState state = StateAt(grant, now);
  if (state != v1::GRANT_ACTIVE && state != v1::GRANT_PENDING_APPROVAL) return false;
  grant.body.set_state(v1::GRANT_REVOKED);
  grant.body.set_state_reason(std::string(reason));
  *grant.body.mutable_revoke_time() = ToTimestamp(now);
  return true;
}

v1::Revocation RevocationOf(const Grant& grant) {
  v1::Revocation revocation;
  revocation.set_grant_id(grant.body.id());
  revocation.set_reason(grant.body.state_reason());
  // A grant that was revoked while it waited has no token, so it can be forgotten at once.
  *revocation.mutable_forget_time() =
      grant.body.has_expire_time() ? grant.body.expire_time() : grant.body.revoke_time();
  return revocation;
}

v1::Grant ToProto(const Grant& grant, absl::Time now) {
  v1::Grant proto = grant.body;
  proto.set_state(StateAt(grant, now));
  return proto;
}

}  // namespace postern::grant
