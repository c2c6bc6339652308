#include "common/token/token.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "absl/container/flat_hash_map.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/ec_key.h"
#include "common/token/jws.h"

namespace postern::token {
namespace {

// RFC 8725 section 3.11: a type of its own, so that no other JWT of ours passes for a grant.
constexpr std::string_view kTokenType = "grant+jwt";

absl::Status Refuse(std::string_view reason, std::string_view message, std::string_view hint = {}) {
  return Error(absl::StatusCode::kUnauthenticated, reason, message, hint);
}

absl::Status MissingClaim(std::string_view name) {
  return Refuse("TOKEN_MALFORMED", fmt::format("the token's claim '{}' is missing or of the wrong type", name));
}

// Reads a claim into `out`; an absent one stays empty if `optional`.
absl::Status ReadString(const json_t* claims, const char* name, bool optional, std::string& out) {
  if (optional && json_object_get(claims, name) == nullptr) return absl::OkStatus();
  std::optional<std::string> value = StringMember(claims, name);
  if (!value.has_value()) return MissingClaim(name);
  out = *std::move(value);
  return absl::OkStatus();
}

absl::Status ReadStrings(const json_t* claims, const char* name, bool optional, std::vector<std::string>& out) {
  if (optional && json_object_get(claims, name) == nullptr) return absl::OkStatus();
  std::optional<std::vector<std::string>> value = StringsMember(claims, name);
  if (!value.has_value()) return MissingClaim(name);
  out = *std::move(value);
  return absl::OkStatus();
}

absl::Status ReadTime(const json_t* claims, const char* name, absl::Time& out) {
  const std::optional<int64_t> seconds = NumericDateMember(claims, name);
  if (!seconds.has_value()) return MissingClaim(name);
  out = absl::FromUnixSeconds(*seconds);
  return absl::OkStatus();
}

absl::StatusOr<Claims> ReadClaims(const json_t* json) {
  Claims claims;
  POSTERN_RETURN_IF_ERROR(ReadString(json, "iss", false, claims.issuer));
  POSTERN_RETURN_IF_ERROR(ReadString(json, "aud", false, claims.target));
  POSTERN_RETURN_IF_ERROR(ReadString(json, "sub", false, claims.agent));
  POSTERN_RETURN_IF_ERROR(ReadString(json, "obo", true, claims.on_behalf_of));
  POSTERN_RETURN_IF_ERROR(ReadStrings(json, "grp", true, claims.groups));
  POSTERN_RETURN_IF_ERROR(ReadString(json, "jti", false, claims.grant_id));
  POSTERN_RETURN_IF_ERROR(ReadString(json, "db", false, claims.database));
  POSTERN_RETURN_IF_ERROR(ReadStrings(json, "do", false, claims.verbs));
  POSTERN_RETURN_IF_ERROR(ReadStrings(json, "obj", true, claims.objects));
  POSTERN_RETURN_IF_ERROR(ReadTime(json, "iat", claims.issued_at));
  POSTERN_RETURN_IF_ERROR(ReadTime(json, "exp", claims.expires_at));
  return claims;
}

JsonPtr WriteClaims(const Claims& claims) {
  JsonPtr json(json_object());
  const auto set = [&json](const char* name, json_t* value) { json_object_set_new(json.get(), name, value); };
  set("iss", NewJsonString(claims.issuer));
  set("aud", NewJsonString(claims.target));
  set("sub", NewJsonString(claims.agent));
  if (!claims.on_behalf_of.empty()) set("obo", NewJsonString(claims.on_behalf_of));
  if (!claims.groups.empty()) set("grp", NewJsonStrings(claims.groups));
  set("jti", NewJsonString(claims.grant_id));
  set("db", NewJsonString(claims.database));
  set("do", NewJsonStrings(claims.verbs));
  if (!claims.objects.empty()) set("obj", NewJsonStrings(claims.objects));
  set("iat", json_integer(absl::ToUnixSeconds(claims.issued_at)));
  set("exp", json_integer(absl::ToUnixSeconds(claims.expires_at)));
  return json;
}

absl::Status CheckTimes(const Claims& claims, absl::Time now) {
  if (now >= claims.expires_at) {
    return Refuse("TOKEN_EXPIRED", "the token has expired", "Ask for a new one with `postern token request`.");
  }
  if (claims.issued_at > now + kClockSkew) {
    return Refuse("TOKEN_NOT_YET_VALID", "the token was issued in the future",
                  "Compare the clocks of the sidecar's and the control plane's hosts.");
  }
  return absl::OkStatus();
}

class Es256Signer final : public TokenSigner {
 public:
  Es256Signer(JwsKey key, PublicKey public_key) : key_(std::move(key)), public_key_(std::move(public_key)) {}

  absl::StatusOr<std::string> Sign(const Claims& claims) const override {
    const JsonPtr json = WriteClaims(claims);
    // What a verifier would refuse must not be signed: a claim that is not UTF-8 drops out of the JSON, or out of a
    // list.
    if (absl::StatusOr<Claims> read = ReadClaims(json.get()); !read.ok() || !SameLists(claims, *read)) {
      return Error(absl::StatusCode::kInvalidArgument, "TOKEN_CLAIMS_INVALID", "a claim is not UTF-8 text");
    }
    POSTERN_ASSIGN_OR_RETURN(std::string token, SignJws(json.get(), kTokenType, key_));
    if (token.size() > kMaxTokenBytes) {
      return Error(absl::StatusCode::kResourceExhausted, "TOKEN_TOO_LARGE",
                   fmt::format("the token would have {} bytes, more than {}", token.size(), kMaxTokenBytes),
                   "Ask for fewer objects, or put the agent in fewer groups.");
    }
    return token;
  }

  PublicKey public_key() const override { return public_key_; }

 private:
  static bool SameLists(const Claims& a, const Claims& b) {
    return a.groups == b.groups && a.verbs == b.verbs && a.objects == b.objects && a.on_behalf_of == b.on_behalf_of;
  }

  const JwsKey key_;
  const PublicKey public_key_;
};

}  // namespace

struct TokenVerifier::Impl {
  std::string issuer;
  absl::flat_hash_map<std::string, JwsKey> keys;
};

TokenVerifier::TokenVerifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenVerifier::~TokenVerifier() = default;

absl::StatusOr<std::shared_ptr<const TokenVerifier>> TokenVerifier::Create(std::string issuer,
                                                                           const std::vector<PublicKey>& keys) {
  auto impl = std::make_unique<Impl>();
  impl->issuer = std::move(issuer);
  for (const PublicKey& key : keys) {
    POSTERN_ASSIGN_OR_RETURN(const crypto::EcPublicKey public_key, crypto::EcPublicKey::FromPem(key.pem));
    POSTERN_ASSIGN_OR_RETURN(JwsKey jws_key, JwsKey::FromPublicKey(key.id, public_key));
    if (!impl->keys.emplace(key.id, std::move(jws_key)).second) {
      return Error(absl::StatusCode::kInvalidArgument, "KEY_DUPLICATE", fmt::format("two keys have the id {}", key.id));
    }
  }
  return std::shared_ptr<const TokenVerifier>(new TokenVerifier(std::move(impl)));
}

absl::StatusOr<VerifiedGrant> TokenVerifier::Verify(std::string_view token, std::string_view target,
                                                    const Clock& clock) const {
  POSTERN_ASSIGN_OR_RETURN(const UnverifiedJws decoded, DecodeJws(token, kMaxTokenBytes));
  const auto key = impl_->keys.find(decoded.key_id);
  if (key == impl_->keys.end()) return Refuse("TOKEN_UNKNOWN_KEY", "the token names a key that is not in use");
  POSTERN_RETURN_IF_ERROR(VerifyJws(token, decoded, key->second));
  if (decoded.type != kTokenType) return Refuse("TOKEN_MALFORMED", "the token is of another type than a grant's");
  POSTERN_ASSIGN_OR_RETURN(Claims claims, ReadClaims(decoded.claims.get()));
  if (claims.issuer != impl_->issuer) return Refuse("TOKEN_WRONG_ISSUER", "the token is of another control plane");
  if (!target.empty() && claims.target != target) {
    return Refuse("TOKEN_WRONG_TARGET", "the token is for another target",
                  "Ask for a token for this target with `postern token request --target`.");
  }
  POSTERN_RETURN_IF_ERROR(CheckTimes(claims, clock.Now()));
  return VerifiedGrant(std::move(claims));
}

absl::StatusOr<std::unique_ptr<TokenSigner>> TokenSigner::FromPem(std::string key_id,
                                                                  std::string_view private_key_pem) {
  POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::FromPem(private_key_pem));
  POSTERN_ASSIGN_OR_RETURN(JwsKey jws_key, JwsKey::FromPrivateKey(key_id, key));
  PublicKey public_key{std::move(key_id), key.public_key().ToPem()};
  return std::make_unique<Es256Signer>(std::move(jws_key), std::move(public_key));
}

}  // namespace postern::token
