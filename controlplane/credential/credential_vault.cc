#include "controlplane/credential/credential_vault.h"

#include <fmt/format.h>

namespace postern::credential {
namespace {

std::string PasswordPlace(std::string_view target) { return fmt::format("target/{}/password", target); }
std::string MaskKeyPlace(std::string_view target) { return fmt::format("target/{}/mask-key", target); }
std::string ServiceKeyPlace(std::string_view purpose, std::string_view id) {
  return fmt::format("service-key/{}/{}", purpose, id);
}

}  // namespace

absl::StatusOr<std::string> CredentialVault::SealPassword(std::string_view target,
                                                          const crypto::Secret& password) const {
  return keyring_.Seal(password, PasswordPlace(target), random_);
}

absl::StatusOr<crypto::Secret> CredentialVault::OpenPassword(std::string_view target, std::string_view sealed) const {
  return keyring_.Open(sealed, PasswordPlace(target));
}

absl::StatusOr<std::string> CredentialVault::SealNewMaskKey(std::string_view target) const {
  std::string key = random_.Bytes(kMaskKeyBytes);
  return keyring_.Seal(crypto::Secret::Take(key), MaskKeyPlace(target), random_);
}

absl::StatusOr<crypto::Secret> CredentialVault::OpenMaskKey(std::string_view target, std::string_view sealed) const {
  return keyring_.Open(sealed, MaskKeyPlace(target));
}

absl::StatusOr<std::string> CredentialVault::SealServiceKey(std::string_view purpose, std::string_view id,
                                                            const crypto::Secret& pem) const {
  return keyring_.Seal(pem, ServiceKeyPlace(purpose, id), random_);
}

absl::StatusOr<crypto::Secret> CredentialVault::OpenServiceKey(std::string_view purpose, std::string_view id,
                                                               std::string_view sealed) const {
  return keyring_.Open(sealed, ServiceKeyPlace(purpose, id));
}

}  // namespace postern::credential
