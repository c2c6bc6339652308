#include "common/token/assertion.h"

#include <optional>
#include <utility>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/token/jws.h"

namespace postern::token {
namespace {

constexpr size_t kMaxIdBytes = 64;

absl::Status Refuse(std::string_view reason, std::string_view message, std::string_view hint = {}) {
  return Error(absl::StatusCode::kUnauthenticated, reason, message, hint);
}

absl::StatusOr<Assertion> ReadAssertion(const UnverifiedJws& decoded) {
  const json_t* claims = decoded.claims.get();
  const std::optional<std::string> issuer = StringMember(claims, "iss");
  const std::optional<std::string> subject = StringMember(claims, "sub");
  const std::optional<std::string> id = StringMember(claims, "jti");
  const std::optional<int64_t> issued = NumericDateMember(claims, "iat");
  const std::optional<int64_t> expires = NumericDateMember(claims, "exp");
  if (!issuer || !subject || *issuer != *subject || !id || id->empty() || id->size() > kMaxIdBytes || !issued ||
      !expires) {
    return Refuse("TOKEN_MALFORMED", "the assertion needs iss = sub, jti, iat and exp");
  }
  return Assertion{*issuer, decoded.key_id, *id, absl::FromUnixSeconds(*issued), absl::FromUnixSeconds(*expires)};
}

absl::Status CheckTimes(const Assertion& assertion, absl::Time now) {
  constexpr std::string_view kClockHint = "Compare this host's clock with the control plane's.";
  if (now >= assertion.expires_at) return Refuse("TOKEN_EXPIRED", "the assertion has expired", kClockHint);
  if (assertion.issued_at > now + kClockSkew) {
    return Refuse("TOKEN_NOT_YET_VALID", "the assertion was issued in the future", kClockHint);
  }
  if (assertion.expires_at > now + kMaxAssertionLifetime + kClockSkew ||
      assertion.expires_at > assertion.issued_at + kMaxAssertionLifetime) {
    return Refuse("TOKEN_LIFETIME", "the assertion lives longer than 5 minutes");
  }
  return absl::OkStatus();
}

const PublicKey* FindKey(const std::vector<PublicKey>& keys, std::string_view id) {
  for (const PublicKey& key : keys) {
    if (key.id == id) return &key;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> MakeAssertion(std::string_view account_id, const crypto::EcPrivateKey& key,
                                          std::string_view audience, const Clock& clock, Random& random) {
  const absl::Time now = clock.Now();
  const JsonPtr claims(json_object());
  json_object_set_new(claims.get(), "iss", NewJsonString(account_id));
  json_object_set_new(claims.get(), "sub", NewJsonString(account_id));
  json_object_set_new(claims.get(), "aud", NewJsonString(audience));
  json_object_set_new(claims.get(), "jti", NewJsonString(NewUuid(random)));
  json_object_set_new(claims.get(), "iat", json_integer(absl::ToUnixSeconds(now)));
  json_object_set_new(claims.get(), "exp", json_integer(absl::ToUnixSeconds(now + kAssertionLifetime)));
  POSTERN_ASSIGN_OR_RETURN(const JwsKey jws_key, JwsKey::FromPrivateKey(key.public_key().Thumbprint(), key));
  return SignJws(claims.get(), kAssertionType, jws_key);
}

absl::StatusOr<std::string> UnverifiedAccount(std::string_view token) {
  POSTERN_ASSIGN_OR_RETURN(const UnverifiedJws decoded, DecodeJws(token, kMaxAssertionBytes));
  if (decoded.type != kAssertionType) return Refuse("TOKEN_MALFORMED", "the token is not an account's assertion");
  POSTERN_ASSIGN_OR_RETURN(Assertion assertion, ReadAssertion(decoded));
  return std::move(assertion.account_id);
}

absl::StatusOr<Assertion> VerifyAssertion(std::string_view token, std::string_view account_id,
                                          const std::vector<PublicKey>& keys, std::string_view audience,
                                          const Clock& clock) {
  POSTERN_ASSIGN_OR_RETURN(const UnverifiedJws decoded, DecodeJws(token, kMaxAssertionBytes));
  const PublicKey* key = FindKey(keys, decoded.key_id);
  if (key == nullptr) return Refuse("TOKEN_UNKNOWN_KEY", "the assertion names a key that the account does not have");
  POSTERN_ASSIGN_OR_RETURN(const crypto::EcPublicKey public_key, crypto::EcPublicKey::FromPem(key->pem));
  POSTERN_ASSIGN_OR_RETURN(const JwsKey jws_key, JwsKey::FromPublicKey(key->id, public_key));
  POSTERN_RETURN_IF_ERROR(VerifyJws(token, decoded, jws_key));
  if (decoded.type != kAssertionType) return Refuse("TOKEN_MALFORMED", "the token is not an account's assertion");
  POSTERN_ASSIGN_OR_RETURN(Assertion assertion, ReadAssertion(decoded));
  if (assertion.account_id != account_id) return Refuse("TOKEN_WRONG_ISSUER", "the assertion is of another account");
  if (StringMember(decoded.claims.get(), "aud") != audience) {
    return Refuse("TOKEN_WRONG_AUDIENCE", "the assertion is for another control plane");
  }
  POSTERN_RETURN_IF_ERROR(CheckTimes(assertion, clock.Now()));
  return assertion;
}

}  // namespace postern::token
