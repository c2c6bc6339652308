// Who this sidecar is: its key, its certificate and the CA that it trusts, in one file, so that they always belong
// together whenever the machine stops. `identity.json` in the data directory, mode 0600.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret.h"

namespace postern::sidecar {

struct SidecarIdentity {
  // host:port of the control plane.
  std::string address;
  std::string sidecar_id;
  // Counts this sidecar's certificates.
  int64_t generation = 0;
  // PKCS#8 PEM.
  crypto::Secret key_pem;
  // Leaf first.
  std::string certificate_chain_pem;
  std::string ca_pem;
};

// NOT_FOUND/NOT_JOINED if there is none; FAILED_PRECONDITION/IDENTITY_OPEN_TO_OTHERS if group or others may read it;
// DATA_LOSS/IDENTITY_DAMAGED if it does not parse; UNAVAILABLE/IDENTITY_UNREADABLE.
absl::StatusOr<SidecarIdentity> LoadIdentity(const std::string& data_dir);

// Replaces the file atomically; on the disk once OK. Creates the folder (0700) if need be.
// UNAVAILABLE/FILE_NOT_WRITTEN.
absl::Status SaveIdentity(const SidecarIdentity& identity, const std::string& data_dir);

// Writes `bytes` to data_dir/name (0600), replacing it atomically and durably. Same errors as SaveIdentity.
absl::Status ReplaceFile(const std::string& data_dir, const std::string& name, std::string_view bytes);

}  // namespace postern::sidecar
