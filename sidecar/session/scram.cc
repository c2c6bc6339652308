#include "sidecar/session/scram.h"

#include <charconv>

#include <openssl/evp.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"

namespace postern::session {
namespace {

// The server default is 4,096. A hostile server must not keep the event loop busy.
constexpr int kMaxIterations = 1'000'000;

absl::Status ScramError(std::string_view why) {
  return Error(absl::StatusCode::kUnauthenticated, "UPSTREAM_SCRAM",
               fmt::format("SCRAM with the server failed: {}", why));
}

// Takes "x=value" off the front of `text`, up to the next comma.
bool TakeAttribute(char name, std::string_view* text, std::string_view* value) {
  if (text->size() < 2 || (*text)[0] != name || (*text)[1] != '=') return false;
  const size_t comma = text->find(',');
  *value = text->substr(2, comma == std::string_view::npos ? comma : comma - 2);
  *text = comma == std::string_view::npos ? std::string_view() : text->substr(comma + 1);
  return true;
}

}  // namespace

ScramClient::ScramClient(const crypto::Secret& password, std::string nonce, std::string end_point, bool could_bind)
    : password_(password), nonce_(std::move(nonce)), end_point_(std::move(end_point)) {
  gs2_header_ = !end_point_.empty() ? "p=tls-server-end-point,," : could_bind ? "y,," : "n,,";
  // The user name comes from the start-up packet.
  client_first_bare_ = fmt::format("n=,r={}", nonce_);
}

std::string ScramClient::ClientFirst() const { return gs2_header_ + client_first_bare_; }

absl::StatusOr<std::string> ScramClient::ClientFinal(std::string_view server_first) {
  std::string_view rest = server_first;
  std::string_view nonce, salt_text, iterations_text;
  if (!TakeAttribute('r', &rest, &nonce) || !TakeAttribute('s', &rest, &salt_text) ||
      !TakeAttribute('i', &rest, &iterations_text)) {
    return ScramError("malformed server-first message");
  }
  if (!nonce.starts_with(nonce_) || nonce.size() == nonce_.size()) return ScramError("the nonce is not ours");
  POSTERN_ASSIGN_OR_RETURN(const std::string salt, crypto::Base64Decode(salt_text));
  int iterations = 0;
  const auto [end, ec] =
      std::from_chars(iterations_text.data(), iterations_text.data() + iterations_text.size(), iterations);
  if (ec != std::errc() || end != iterations_text.data() + iterations_text.size() || iterations < 1 ||
      iterations > kMaxIterations) {
    return ScramError("iteration count out of range");
  }

  std::string salted_bytes(crypto::kSha256Bytes, '\0');
  const std::string_view password = password_.Expose();
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                        reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()), iterations,
                        EVP_sha256(), static_cast<int>(salted_bytes.size()),
                        reinterpret_cast<unsigned char*>(salted_bytes.data())) != 1) {
    return ScramError("key derivation");
  }
  const crypto::Secret salted = crypto::Secret::Take(salted_bytes);

  std::string client_key_bytes = crypto::HmacSha256(salted, "Client Key");
  const std::string stored_key = crypto::Sha256(client_key_bytes);
  const std::string without_proof = fmt::format("c={},r={}", crypto::Base64Encode(gs2_header_ + end_point_), nonce);
  const std::string auth_message = fmt::format("{},{},{}", client_first_bare_, server_first, without_proof);
  const std::string client_signature = crypto::HmacSha256(crypto::Secret(stored_key), auth_message);
  std::string proof = client_key_bytes;
  for (size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<char>(proof[i] ^ client_signature[i]);
  OPENSSL_cleanse(client_key_bytes.data(), client_key_bytes.size());

  std::string server_key_bytes = crypto::HmacSha256(salted, "Server Key");
  const crypto::Secret server_key = crypto::Secret::Take(server_key_bytes);
  server_signature_ = crypto::HmacSha256(server_key, auth_message);
  return fmt::format("{},p={}", without_proof, crypto::Base64Encode(proof));
}

absl::Status ScramClient::Finish(std::string_view server_final) const {
  std::string_view rest = server_final;
  std::string_view text;
  if (server_final.starts_with("e=")) return ScramError("the server refused the proof");
  if (!TakeAttribute('v', &rest, &text)) return ScramError("malformed server-final message");
  const absl::StatusOr<std::string> signature = crypto::Base64Decode(text);
  if (server_signature_.empty() || !signature.ok() || !crypto::ConstantTimeEqual(*signature, server_signature_)) {
    return ScramError("the server's signature is wrong: it does not know the password");
  }
  return absl::OkStatus();
}

}  // namespace postern::session
