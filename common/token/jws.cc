#include "common/token/jws.h"

#include <array>
#include <cstring>
#include <vector>

#include <cjose/cjose.h>
#include <fmt/format.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/base64.h"

namespace postern::token {
namespace {

struct JwsRelease {
  void operator()(cjose_jws_t* jws) const { cjose_jws_release(jws); }
};
using JwsPtr = std::unique_ptr<cjose_jws_t, JwsRelease>;

constexpr size_t kMinRsaBits = 2048;
constexpr size_t kMaxRsaBits = 8192;  // A larger one would make each verification a small denial of service.

absl::Status MalformedKey(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "KEY_MALFORMED", what);
}

absl::Status MalformedToken(std::string_view what) {
  return Error(absl::StatusCode::kUnauthenticated, "TOKEN_MALFORMED", what);
}

absl::Status WrongSignature() {
  return Error(absl::StatusCode::kUnauthenticated, "TOKEN_SIGNATURE", "the token's signature does not match its key");
}

std::shared_ptr<cjose_jwk_t> Share(cjose_jwk_t* jwk) {
  return std::shared_ptr<cjose_jwk_t>(jwk, [](cjose_jwk_t* j) { cjose_jwk_release(j); });
}

uint8_t* Bytes(std::string& bytes) { return reinterpret_cast<uint8_t*>(bytes.data()); }

absl::StatusOr<std::shared_ptr<cjose_jwk_t>> EcJwk(const crypto::EcPublicKey& key, const crypto::Secret& scalar) {
  std::string x = key.x();
  std::string y = key.y();
  std::string d(scalar.Expose());
  cjose_jwk_ec_keyspec spec{};
  spec.crv = CJOSE_JWK_EC_P_256;
  spec.x = Bytes(x);
  spec.xlen = x.size();
  spec.y = Bytes(y);
  spec.ylen = y.size();
  if (!d.empty()) {
    spec.d = Bytes(d);
    spec.dlen = d.size();
  }
  cjose_err error{};
  std::shared_ptr<cjose_jwk_t> jwk = Share(cjose_jwk_create_EC_spec(&spec, &error));
  crypto::Secret::Take(d);
  if (jwk == nullptr) return MalformedKey("cannot use the key for ES256");
  return jwk;
}

// The parts of a JWK that a public key has; cjose reads no others, so whatever else the set says stays out.
absl::StatusOr<JsonPtr> PublicMembers(const json_t* jwk, const std::vector<const char*>& names) {
  JsonPtr copy(json_object());
  for (const char* name : names) {
    json_t* value = json_object_get(jwk, name);
    if (!json_is_string(value)) return MalformedKey(fmt::format("the JWK has no '{}'", name));
    json_object_set(copy.get(), name, value);
  }
  return copy;
}

absl::StatusOr<std::shared_ptr<cjose_jwk_t>> Import(const JsonPtr& jwk) {
  cjose_err error{};
  std::shared_ptr<cjose_jwk_t> key = Share(cjose_jwk_import_json(jwk.get(), &error));
  if (key == nullptr) return MalformedKey("the JWK's numbers do not make a key");
  return key;
}

// Splits at dots; exactly three non-empty parts.
bool Split(std::string_view token, std::array<std::string_view, 3>& parts) {
  const size_t first = token.find('.');
  if (first == std::string_view::npos) return false;
  const size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return false;
  parts = {token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1)};
  return !parts[0].empty() && !parts[1].empty() && !parts[2].empty();
}

absl::StatusOr<JsonPtr> DecodePart(std::string_view part, std::string_view name) {
  const absl::StatusOr<std::string> text = crypto::Base64UrlDecode(part);
  if (!text.ok()) return MalformedToken(fmt::format("the token's {} is not base64url", name));
  absl::StatusOr<JsonPtr> json = ParseJsonObject(*text);
  if (!json.ok()) {
    return MalformedToken(fmt::format("the token's {} is not a JSON object with each member at most once", name));
  }
  return json;
}

}  // namespace

absl::StatusOr<JwsKey> JwsKey::FromPublicKey(std::string id, const crypto::EcPublicKey& key) {
  POSTERN_ASSIGN_OR_RETURN(std::shared_ptr<cjose_jwk_t> jwk, EcJwk(key, crypto::Secret()));
  return JwsKey(std::move(id), "ES256", std::move(jwk));
}

absl::StatusOr<JwsKey> JwsKey::FromPrivateKey(std::string id, const crypto::EcPrivateKey& key) {
  POSTERN_ASSIGN_OR_RETURN(std::shared_ptr<cjose_jwk_t> jwk, EcJwk(key.public_key(), key.d()));
  return JwsKey(std::move(id), "ES256", std::move(jwk));
}

absl::StatusOr<JwsKey> JwsKey::FromJwk(const json_t* jwk, std::string_view algorithm) {
  const std::string kty = StringMember(jwk, "kty").value_or("");
  const std::string id = StringMember(jwk, "kid").value_or("");
  if (json_object_get(jwk, "d") != nullptr) return MalformedKey("the JWK holds a private key");
  if (algorithm == "RS256" || algorithm == "PS256") {
    if (kty != "RSA") return MalformedKey(fmt::format("{} needs an RSA key", algorithm));
    POSTERN_ASSIGN_OR_RETURN(const JsonPtr members, PublicMembers(jwk, {"kty", "n", "e"}));
    POSTERN_ASSIGN_OR_RETURN(std::shared_ptr<cjose_jwk_t> key, Import(members));
    const size_t bits = cjose_jwk_get_keysize(key.get(), nullptr);
    if (bits < kMinRsaBits || bits > kMaxRsaBits) {
      return MalformedKey(fmt::format("the RSA key has {} bits, not {} to {}", bits, kMinRsaBits, kMaxRsaBits));
    }
    return JwsKey(id, std::string(algorithm), std::move(key));
  }
  const std::string_view curve = algorithm == "ES256" ? "P-256" : algorithm == "ES384" ? "P-384" : "";
  if (curve.empty()) return MalformedKey(fmt::format("algorithm {} is not one that Postern verifies", algorithm));
  if (kty != "EC" || StringMember(jwk, "crv") != curve) {
    return MalformedKey(fmt::format("{} needs a key on {}", algorithm, curve));
  }
  POSTERN_ASSIGN_OR_RETURN(const JsonPtr members, PublicMembers(jwk, {"kty", "crv", "x", "y"}));
  POSTERN_ASSIGN_OR_RETURN(std::shared_ptr<cjose_jwk_t> key, Import(members));
  return JwsKey(id, std::string(algorithm), std::move(key));
}

absl::StatusOr<UnverifiedJws> DecodeJws(std::string_view token, size_t max_bytes) {
  if (token.size() > max_bytes) return MalformedToken(fmt::format("the token is longer than {} bytes", max_bytes));
  std::array<std::string_view, 3> parts;
  if (!Split(token, parts)) return MalformedToken("the token does not have three parts");
  POSTERN_ASSIGN_OR_RETURN(const JsonPtr header, DecodePart(parts[0], "header"));
  if (json_object_get(header.get(), "crit") != nullptr) {
    return MalformedToken("the token names critical extensions; none are known here");
  }
  UnverifiedJws decoded;
  std::optional<std::string> algorithm = StringMember(header.get(), "alg");
  if (!algorithm.has_value()) return MalformedToken("the token names no algorithm");
  decoded.algorithm = *std::move(algorithm);
  decoded.key_id = StringMember(header.get(), "kid").value_or("");
  decoded.type = StringMember(header.get(), "typ").value_or("");
  POSTERN_ASSIGN_OR_RETURN(decoded.claims, DecodePart(parts[1], "payload"));
  if (!crypto::Base64UrlDecode(parts[2]).ok()) return MalformedToken("the token's signature is not base64url");
  return decoded;
}

absl::Status VerifyJws(std::string_view token, const UnverifiedJws& decoded, const JwsKey& key) {
  if (decoded.algorithm != key.algorithm()) return WrongSignature();
  cjose_err error{};
  const JwsPtr jws(cjose_jws_import(token.data(), token.size(), &error));
  if (jws == nullptr || !cjose_jws_verify(jws.get(), key.jwk(), &error)) return WrongSignature();
  return absl::OkStatus();
}

absl::StatusOr<std::string> SignJws(const json_t* claims, std::string_view type, const JwsKey& key) {
  const auto failed = [] { return Error(absl::StatusCode::kInternal, "CRYPTO_FAILED", "cannot sign a token"); };
  const JsonPtr header(json_object());
  json_object_set_new(header.get(), "alg", NewJsonString(key.algorithm()));
  json_object_set_new(header.get(), "kid", NewJsonString(key.id()));
  json_object_set_new(header.get(), "typ", NewJsonString(type));
  const std::string payload = DumpJson(claims);
  cjose_err error{};
  const JwsPtr jws(cjose_jws_sign(key.jwk(), header.get(), reinterpret_cast<const uint8_t*>(payload.data()),
                                  payload.size(), &error));
  const char* serialized = nullptr;  // Owned by `jws`.
  if (jws == nullptr || !cjose_jws_export(jws.get(), &serialized, &error)) return failed();
  return std::string(serialized);
}

}  // namespace postern::token
