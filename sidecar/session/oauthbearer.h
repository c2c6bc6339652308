// The server's half of the SASL mechanism OAUTHBEARER (RFC 7628) as libpq 18 speaks it: another way to hand over the
// token, for clients that get it from their own OAuth flow instead of from a password field.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/crypto/secret.h"

namespace postern::session {

inline constexpr std::string_view kOauthBearerMechanism = "OAUTHBEARER";

// What a client that comes without a token is told, so that it can get one (RFC 7628, 3.2.2). Both may be empty.
struct OauthDiscovery {
  std::string issuer;  // URL without a trailing slash; its metadata is at /.well-known/openid-configuration
  std::string scope;
};

// The bearer token of a client's initial response (RFC 7628, 3.1). Empty: the client asks where to get one.
//   INVALID_ARGUMENT/OAUTH_MALFORMED: the message breaks the grammar, or asks for what there is not: a channel binding
//   or another authorization identity. The text never quotes the message.
absl::StatusOr<crypto::Secret> ReadBearerToken(std::string_view response);

// The error challenge for a client whose token is missing or not accepted. It answers with one byte, kvsep.
std::string InvalidTokenChallenge(const OauthDiscovery& discovery);
inline constexpr std::string_view kErrorAcknowledged = "\x01";

}  // namespace postern::session
