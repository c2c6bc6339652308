// What a client may ask for in its StartupMessage. The packet that goes upstream is built from this, never copied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/wire/build.h"
#include "sidecar/wire/startup.h"

namespace postern::session {

// How a client hands over its token.
enum class AuthMethod { kPassword, kOauthBearer };
// "password" or "oauthbearer".
std::optional<AuthMethod> ParseAuthMethod(std::string_view name);

// The newest minor version of protocol 3 that is spoken: 3.2, whose only news is longer cancel keys.
inline constexpr uint16_t kNewestMinor = 2;

struct ClientStartup {
  // The minor version that is spoken from here on.
  uint16_t minor = 0;
  std::string user;
  std::string database;  // empty: that of the token
  std::string application_name;
  // Settings that the client may choose, by their canonical names: DateStyle, TimeZone, statement_timeout…
  std::vector<std::pair<std::string, std::string>> settings;
  // Judged as SET search_path before it is used.
  std::optional<std::vector<std::string>> search_path;
  // Setting postern.auth: the client's choice.
  std::optional<AuthMethod> auth;
  // The client speaks a later minor version, or asks for protocol options: NegotiateProtocolVersion is due.
  bool negotiate = false;
  std::vector<std::string> unknown_options;
};

// Takes `packet` (kind kStartup) apart. std::nullopt: `*refusal` is the FATAL error to send.
//
// The server takes the last of two equal keys, any case of a setting's name, and lets `options` set everything: so
// duplicates are refused, names are compared without case, and only listed settings pass.
std::optional<ClientStartup> JudgeStartup(const wire::StartupPacket& packet, wire::ErrorFields* refusal);

// Splits a list of identifiers as SplitIdentifierString() of the server: unquoted names are folded to lower case.
// std::nullopt: not such a list.
std::optional<std::vector<std::string>> SplitIdentifiers(std::string_view text);
// The reverse: every name quoted.
std::string QuoteIdentifiers(const std::vector<std::string>& names);

}  // namespace postern::session
