#include "common/token/workload.h"

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/token/json.h"
#include "common/token/jws.h"

namespace postern::token {

absl::StatusOr<std::string> MakeWorkloadToken(const crypto::EcPrivateKey& key, std::string_view issuer,
                                              std::string_view subject, std::string_view audience,
                                              absl::Duration lifetime, const Clock& clock, Random& random) {
  const absl::Time now = clock.Now();
  const JsonPtr claims(json_object());
  json_object_set_new(claims.get(), "iss", NewJsonString(issuer));
  json_object_set_new(claims.get(), "sub", NewJsonString(subject));
  json_object_set_new(claims.get(), "aud", NewJsonString(audience));
  json_object_set_new(claims.get(), "iat", json_integer(absl::ToUnixSeconds(now)));
  json_object_set_new(claims.get(), "exp", json_integer(absl::ToUnixSeconds(now + lifetime)));
  json_object_set_new(claims.get(), "jti", NewJsonString(NewUuid(random)));
  if (json_object_size(claims.get()) != 6) {
    return Error(absl::StatusCode::kInvalidArgument, "TOKEN_MALFORMED", "issuer, subject and audience must be UTF-8");
  }
  POSTERN_ASSIGN_OR_RETURN(const JwsKey signer, JwsKey::FromPrivateKey(key.public_key().Thumbprint(), key));
  return SignJws(claims.get(), "JWT", signer);
}

std::string WorkloadJwks(const crypto::EcPublicKey& key) {
  absl::StatusOr<JsonPtr> jwk = ParseJsonObject(key.ToJwk());
  const JsonPtr set(json_object());
  json_t* keys = json_array();
  if (jwk.ok()) {
    json_object_set_new(jwk->get(), "kid", NewJsonString(key.Thumbprint()));
    json_object_set_new(jwk->get(), "alg", NewJsonString("ES256"));
    json_object_set_new(jwk->get(), "use", NewJsonString("sig"));
    json_array_append_new(keys, jwk->release());
  }
  json_object_set_new(set.get(), "keys", keys);
  return DumpJson(set.get());
}

}  // namespace postern::token
