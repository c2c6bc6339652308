// The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) as Postgres speaks it (documentation, 55.3).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret.h"

namespace postern::session {

inline constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";
inline constexpr std::string_view kScramSha256Plus = "SCRAM-SHA-256-PLUS";

// One exchange. The three calls come in order. The password is used as it is: SASLprep leaves ASCII alone.
class ScramClient {
 public:
  // `nonce`: printable, without commas, fresh and unguessable. `end_point`: the channel's tls-server-end-point binding
  // (RFC 5929) for SCRAM-SHA-256-PLUS; empty: plain SCRAM-SHA-256. `could_bind`: we could have bound the channel but
  // the server did not offer it; saying so lets a server that did offer it notice the man in between.
  // `password` is not owned.
  ScramClient(const crypto::Secret& password, std::string nonce, std::string end_point, bool could_bind);

  std::string ClientFirst() const;
  //   UNAUTHENTICATED/UPSTREAM_SCRAM: the server's message is malformed or does not continue our nonce.
  absl::StatusOr<std::string> ClientFinal(std::string_view server_first);
  // Checks that the server knows the password's verifier too.
  absl::Status Finish(std::string_view server_final) const;

 private:
  const crypto::Secret& password_;
  std::string nonce_;
  std::string end_point_;
  std::string gs2_header_;
  std::string client_first_bare_;
  std::string server_signature_;
};

}  // namespace postern::session
