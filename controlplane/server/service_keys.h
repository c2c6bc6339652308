// The control plane's own keys, opened: what it signs tokens and checkpoints with, and its CA.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/certificate.h"
#include "common/crypto/ec_key.h"
#include "common/token/token.h"
#include "controlplane/credential/credential_vault.h"
#include "controlplane/server/key_store.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::server {

// Immutable; thread-safe.
class ServiceKeys {
 public:
  // Makes and stores the first keys of an installation. ALREADY_EXISTS/ALREADY_INITIALISED.
  static absl::Status Create(KeyStore& store, const credential::CredentialVault& vault, std::string_view origin,
                             const Clock& clock, Random& random);

  // FAILED_PRECONDITION/NOT_INITIALISED if there are none; DATA_LOSS, NOT_FOUND/KEK_UNKNOWN if they do not open.
  static absl::StatusOr<ServiceKeys> Load(const KeyStore& store, const credential::CredentialVault& vault);

  const crypto::CertificateAuthority& ca() const { return ca_; }
  std::shared_ptr<const token::TokenSigner> token_signer() const { return token_signer_; }
  // Public halves of every token key whose tokens may be alive.
  const std::vector<v1::TokenKey>& token_keys() const { return token_keys_; }

  struct AuditKey {
    std::string id;
    crypto::EcPrivateKey key;
  };
  // The one that signs checkpoints now.
  const AuditKey& audit_key() const { return audit_key_; }

 private:
  ServiceKeys(crypto::CertificateAuthority ca, std::shared_ptr<const token::TokenSigner> signer,
              std::vector<v1::TokenKey> token_keys, AuditKey audit_key)
      : ca_(std::move(ca)),
        token_signer_(std::move(signer)),
        token_keys_(std::move(token_keys)),
        audit_key_(std::move(audit_key)) {}

  crypto::CertificateAuthority ca_;
  std::shared_ptr<const token::TokenSigner> token_signer_;
  std::vector<v1::TokenKey> token_keys_;
  AuditKey audit_key_;
};

}  // namespace postern::server
