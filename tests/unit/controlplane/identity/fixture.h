// What the tests of this room share: the real store on SQLite, an audit log that can fail, and an issuer of tokens.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/timestamps.h"
#include "common/crypto/ec_key.h"
#include "common/token/jws.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/store/identity_store.h"
#include "postern/v1/identity.pb.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::identity {

class FakeAudit final : public audit::AuditSink {
 public:
  absl::Status Record(v1::AuditRecord record) override {
    if (!next_.ok()) return std::exchange(next_, absl::OkStatus());
    records_.push_back(std::move(record));
    return absl::OkStatus();
  }
  void FailNext(absl::Status status) { next_ = std::move(status); }
  const std::vector<v1::AuditRecord>& records() const { return records_; }

 private:
  absl::Status next_;
  std::vector<v1::AuditRecord> records_;
};

// An issuer with one ES256 key.
class FakeIssuer {
 public:
  explicit FakeIssuer(std::string key_id = "k1")
      : key_id_(std::move(key_id)),
        key_(*crypto::EcPrivateKey::Generate()),
        signer_(*token::JwsKey::FromPrivateKey(key_id_, key_)) {}

  std::string Jwk() const {
    const std::string jwk = key_.public_key().ToJwk();
    return fmt::format(R"({},"kid":"{}","use":"sig"}})", jwk.substr(0, jwk.size() - 1), key_id_);
  }
  std::string Jwks() const { return fmt::format(R"({{"keys":[{}]}})", Jwk()); }

  std::string Sign(std::string_view claims) const {
    return *token::SignJws((*token::ParseJsonObject(claims)).get(), "JWT", signer_);
  }

 private:
  std::string key_id_;
  crypto::EcPrivateKey key_;
  token::JwsKey signer_;
};

// An account with one key that lives for a day.
inline v1::Account MakeAccount(std::string_view id, v1::PrincipalKind kind, const crypto::EcPrivateKey& key,
                               const Clock& clock) {
  v1::Account account;
  account.set_id(std::string(id));
  account.set_kind(kind);
  v1::AccountKey* account_key = account.add_keys();
  account_key->set_id(key.public_key().Thumbprint());
  account_key->set_public_key_pem(key.public_key().ToPem());
  *account_key->mutable_expire_time() = ToTimestamp(clock.Now() + absl::Hours(24));
  return account;
}

inline v1::IdentityProvider MakeProvider(std::string_view name, v1::PrincipalKind kind, const FakeIssuer& issuer) {
  v1::IdentityProvider provider;
  provider.set_name(std::string(name));
  provider.set_issuer("https://issuer.example");
  provider.add_audiences("postern");
  provider.set_static_jwks(issuer.Jwks());
  provider.set_kind(kind);
  return provider;
}

}  // namespace postern::identity
