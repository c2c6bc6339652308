// A grant: what an agent was allowed, from the request to its end. Pure: no store, no clock of its own.
//
//   PENDING_APPROVAL ──approved──▶ ACTIVE ──revoked──▶ REVOKED
//          │ denied, cancelled: DENIED   └──expire_time──▶ EXPIRED
//          └ not decided or not collected in time: EXPIRED
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "postern/v1/sidecar.pb.h"
#include "postern/v1/token.pb.h"

namespace postern::grant {

struct Grant {
  // `state` is the state last written; ask StateAt(), since time alone ends a grant.
  v1::Grant body;
  // Person or group that answers for the agent, as it was when the grant was made; empty when nobody does.
  std::string owner;
  // Lifetime allowed by policy; the clock starts when it becomes active.
  int64_t ttl_seconds = 0;
  // The caller's, unique per agent, and the digest of what was asked with it.
  std::string request_id;
  std::string request_digest;
  // Counts writes; the store replaces only the version that was read. 0: not stored yet.
  int64_t version = 0;

  const std::string& id() const { return body.id(); }
};

// The state that holds at `now`: a grant is expired at its expire_time exactly.
v1::GrantState StateAt(const Grant& grant, absl::Time now);

// absl::InfiniteFuture() while the clock has not started.
absl::Time ExpireTime(const Grant& grant);

// PENDING_APPROVAL (or new) → ACTIVE, expiring `ttl_seconds` from now.
void Activate(Grant& grant, absl::Time now);
// PENDING_APPROVAL → DENIED or EXPIRED.
void Refuse(Grant& grant, v1::GrantState state, std::string_view reason);
// → REVOKED. False if it had ended already, and nothing changed.
bool Revoke(Grant& grant, std::string_view reason, absl::Time now);

// What sidecars must remember of a revoked grant.
v1::Revocation RevocationOf(const Grant& grant);

// `grant` as callers see it: with the state at `now`.
v1::Grant ToProto(const Grant& grant, absl::Time now);

}  // namespace postern::grant
