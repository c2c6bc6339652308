// Private keys of the control plane itself, sealed, as they are kept.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::server {

inline constexpr std::string_view kTokenKey = "token";
inline constexpr std::string_view kAuditKey = "audit";
inline constexpr std::string_view kCaKey = "ca";

struct ServiceKey {
  // Key id: RFC 7638 thumbprint of the public key.
  std::string id;
  std::string purpose;
  // Public key PEM; the certificate of a CA.
  std::string public_pem;
  std::string sealed_private;
  absl::Time create_time;
};

// Thread-safe. UNAVAILABLE: unknown; read again before retrying.
class KeyStore {
 public:
  virtual ~KeyStore() = default;
  // All or none. ALREADY_EXISTS/ALREADY_INITIALISED if a key of one of the purposes exists.
  virtual absl::Status InsertFirst(const std::vector<ServiceKey>& keys) = 0;
  // Oldest first.
  virtual absl::StatusOr<std::vector<ServiceKey>> List(std::string_view purpose) const = 0;
};

}  // namespace postern::server
