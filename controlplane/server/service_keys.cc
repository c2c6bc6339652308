#include "controlplane/server/service_keys.h"

#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"

namespace postern::server {
namespace {

absl::StatusOr<ServiceKey> Sealed(std::string_view purpose, std::string id, std::string public_pem,
                                  const crypto::Secret& private_pem, const credential::CredentialVault& vault,
                                  const Clock& clock) {
  ServiceKey key{.id = std::move(id),
                 .purpose = std::string(purpose),
                 .public_pem = std::move(public_pem),
                 .sealed_private = {},
                 .create_time = clock.Now()};
  POSTERN_ASSIGN_OR_RETURN(key.sealed_private, vault.SealServiceKey(purpose, key.id, private_pem));
  return key;
}

absl::StatusOr<ServiceKey> NewSigningKey(std::string_view purpose, const credential::CredentialVault& vault,
                                         const Clock& clock) {
  POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::Generate());
  return Sealed(purpose, key.public_key().Thumbprint(), key.public_key().ToPem(), key.ToPem(), vault, clock);
}

// The newest key of a purpose, with its private half opened.
struct Opened {
  ServiceKey key;
  crypto::Secret private_pem;
};

absl::StatusOr<Opened> OpenNewest(const KeyStore& store, std::string_view purpose,
                                  const credential::CredentialVault& vault) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<ServiceKey> keys, store.List(purpose));
  if (keys.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_INITIALISED",
                 fmt::format("the data folder has no {} key", purpose),
                 "run `postern-controlplane --config FILE init` first");
  }
  POSTERN_ASSIGN_OR_RETURN(crypto::Secret pem,
                           vault.OpenServiceKey(purpose, keys.back().id, keys.back().sealed_private));
  return Opened{std::move(keys.back()), std::move(pem)};
}

}  // namespace

absl::Status ServiceKeys::Create(KeyStore& store, const credential::CredentialVault& vault, std::string_view origin,
                                 const Clock& clock, Random& random) {
  POSTERN_ASSIGN_OR_RETURN(const crypto::CertificateAuthority ca,
                           crypto::CertificateAuthority::CreateRoot(fmt::format("Postern {}", origin), clock, random));
  POSTERN_ASSIGN_OR_RETURN(const crypto::CertificateInfo info, crypto::ReadCertificate(ca.certificate_pem()));
  std::vector<ServiceKey> keys;
  POSTERN_ASSIGN_OR_RETURN(keys.emplace_back(),
                           Sealed(kCaKey, info.serial_hex, ca.certificate_pem(), ca.ExportKeyPem(), vault, clock));
  POSTERN_ASSIGN_OR_RETURN(keys.emplace_back(), NewSigningKey(kTokenKey, vault, clock));
  POSTERN_ASSIGN_OR_RETURN(keys.emplace_back(), NewSigningKey(kAuditKey, vault, clock));
  return store.InsertFirst(keys);
}

absl::StatusOr<ServiceKeys> ServiceKeys::Load(const KeyStore& store, const credential::CredentialVault& vault) {
  POSTERN_ASSIGN_OR_RETURN(const Opened ca, OpenNewest(store, kCaKey, vault));
  POSTERN_ASSIGN_OR_RETURN(crypto::CertificateAuthority authority,
                           crypto::CertificateAuthority::Load(ca.key.public_pem, ca.private_pem));

  POSTERN_ASSIGN_OR_RETURN(const Opened token, OpenNewest(store, kTokenKey, vault));
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<token::TokenSigner> signer,
                           token::TokenSigner::FromPem(token.key.id, token.private_pem.Expose()));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<ServiceKey> all_token_keys, store.List(kTokenKey));
  std::vector<v1::TokenKey> token_keys;
  for (const ServiceKey& key : all_token_keys) {
    v1::TokenKey& published = token_keys.emplace_back();
    published.set_key_id(key.id);
    published.set_public_key_pem(key.public_pem);
  }

  POSTERN_ASSIGN_OR_RETURN(const Opened audit, OpenNewest(store, kAuditKey, vault));
  POSTERN_ASSIGN_OR_RETURN(crypto::EcPrivateKey audit_key, crypto::EcPrivateKey::FromPem(audit.private_pem.Expose()));
  return ServiceKeys(std::move(authority), std::move(signer), std::move(token_keys),
                     AuditKey{audit.key.id, std::move(audit_key)});
}

}  // namespace postern::server
