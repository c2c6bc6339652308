// What the control plane keeps sealed: passwords of target databases, keys of hash masks, its own private keys. Each is
// bound to its place in the store, so that a row copied over another does not open (docs/formats/sealed.md).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/seal.h"
#include "common/crypto/secret.h"

namespace postern::credential {

inline constexpr size_t kMaskKeyBytes = 32;

// Thread-safe. Errors of all Open functions are those of crypto::Keyring::Open.
class CredentialVault {
 public:
  // `random` outlives the vault.
  CredentialVault(crypto::Keyring keyring, Random& random) : keyring_(std::move(keyring)), random_(random) {}

  // The password of a target's login role.
  absl::StatusOr<std::string> SealPassword(std::string_view target, const crypto::Secret& password) const;
  absl::StatusOr<crypto::Secret> OpenPassword(std::string_view target, std::string_view sealed) const;

  // The key of a target's `hash` masks: random, made once, so that equal values keep equal masks.
  absl::StatusOr<std::string> SealNewMaskKey(std::string_view target) const;
  absl::StatusOr<crypto::Secret> OpenMaskKey(std::string_view target, std::string_view sealed) const;

  // A private key of the control plane, by purpose and id ("token", "key-1").
  absl::StatusOr<std::string> SealServiceKey(std::string_view purpose, std::string_view id,
                                             const crypto::Secret& pem) const;
  absl::StatusOr<crypto::Secret> OpenServiceKey(std::string_view purpose, std::string_view id,
                                                std::string_view sealed) const;

 private:
  const crypto::Keyring keyring_;
  Random& random_;
};

}  // namespace postern::credential
