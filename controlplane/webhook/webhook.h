// What receivers of webhooks are sent. Pure: no socket, no store, no clock. docs/webhooks.md is the reference.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/crypto/secret.h"
#include "postern/v1/approval.pb.h"

namespace postern::webhook {

enum class Shape : uint8_t { kPostern, kSlack, kTeams, kPagerDuty };

// A receiver, as the configuration names it.
struct Endpoint {
  std::string name;
  std::string url;
  Shape shape = Shape::kPostern;
  // Signs every delivery.
  crypto::Secret secret;
  // Of PagerDuty-like receivers.
  crypto::Secret routing_key;
  // Empty: all of Events().
  std::set<std::string> events = {};
  // Only approvals that one of these groups may decide; empty: all.
  std::set<std::string> groups = {};
  // Where people are sent, "{id}" standing for the approval's. Empty: they are told the command.
  std::string link = {};
  std::string ca_pem = {};
  bool allow_loopback_http = false;
};

// "approval.pending", "approval.approved", …
const std::vector<std::string>& Events();

// What `approval` is news of, in its present state. A broken glass and its review are news of their own.
std::vector<std::string> EventsOf(const v1::Approval& approval);

// Whether `endpoint` wants to hear of it.
bool Wants(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event);

// The JSON body. It names who, where, what kind of thing and how dangerous, never the statement's text, its values or
// rows: those are looked at behind a login. It offers a link or a command, never a button that decides.
std::string Payload(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event,
                    std::string_view delivery_id);

// What Payload() made, as it goes out: with the routing key, which is not kept beside it.
std::string Outgoing(const Endpoint& endpoint, std::string_view kept);

// "t=SECONDS,v1=HEX": HMAC-SHA-256 over "SECONDS.DELIVERY_ID.BODY". The time is of this attempt and the id of the
// delivery, so that a receiver which refuses old times and known ids cannot be played to again.
std::string Signature(const crypto::Secret& secret, std::string_view delivery_id, std::string_view body,
                      absl::Time now);

// How long to wait after the attempt with this number, from 1. InfiniteDuration: it is dead.
absl::Duration RetryAfter(int attempt);

}  // namespace postern::webhook
