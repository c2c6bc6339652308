// Tokens as a hostile client sends them. Input that begins with '{' is a payload, signed rightly before it is verified,
// so that the reader of claims is reached as well; anything else is a whole token.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/crypto/ec_key.h"
#include "common/token/assertion.h"
#include "common/token/jws.h"
#include "common/token/token.h"

namespace {

using namespace postern;  // NOLINT(google-build-using-namespace): a file of its own binary.

constexpr std::string_view kIssuer = "postern.example";
// Its private half was thrown away after the corpus was signed.
constexpr std::string_view kCorpusKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUthC7z+ZCbR+FWO8b1uGF0WiWsla\n"
    "VoRWtgJDJvhuemBP2nI4ZmZ6Djhp4jbZabi7lZjxNJqdyo83w7abl0qTPw==\n"
    "-----END PUBLIC KEY-----\n";

struct Fixture {
  FakeClock clock;
  crypto::EcPrivateKey key = *crypto::EcPrivateKey::Generate();
  token::JwsKey signing_key = *token::JwsKey::FromPrivateKey("live", key);
  std::vector<token::PublicKey> keys = {{"fuzz", std::string(kCorpusKey)}, {"live", key.public_key().ToPem()}};
  std::shared_ptr<const token::TokenVerifier> verifier = *token::TokenVerifier::Create(std::string(kIssuer), keys);
};

void CheckToken(const Fixture& fixture, std::string_view text) {
  const auto grant = fixture.verifier->Verify(text, "demo", fixture.clock);
  if (grant.ok() && (text.size() > token::kMaxTokenBytes || grant->claims().issuer != kIssuer ||
                     grant->claims().target != "demo" || grant->claims().expires_at <= fixture.clock.Now())) {
    std::abort();
  }
  const auto account = token::UnverifiedAccount(text);
  if (!account.ok()) return;
  const auto assertion = token::VerifyAssertion(text, *account, fixture.keys, kIssuer, fixture.clock);
  if (assertion.ok() && (assertion->account_id != *account || assertion->id.empty())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Fixture* const kFixture = new Fixture();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!text.starts_with('{')) {
    CheckToken(*kFixture, text);
    return 0;
  }
  const auto payload = token::ParseJsonObject(text);
  if (!payload.ok()) return 0;
  for (const std::string_view type : {"grant+jwt", "account+jwt"}) {
    const auto token = token::SignJws(payload->get(), type, kFixture->signing_key);
    if (token.ok()) CheckToken(*kFixture, *token);
  }
  return 0;
}
