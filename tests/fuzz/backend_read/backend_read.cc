// A hostile or broken server must not break the sidecar either.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "sidecar/wire/backend.h"
#include "sidecar/wire/framing.h"

using namespace postern::wire;  // NOLINT(google-build-using-namespace): one translation unit, wire only

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  Message message;
  while (ReadBackend(in, &message) == Read::kMessage) {
    if (const auto fields = ParseRowDescription(message.body); fields && fields->size() > message.body.size())
      std::abort();
    (void)ParseError(message.body);
    (void)ParseKeyData(message.body);
    if (const auto auth = ParseAuthentication(message.body)) (void)ParseMechanisms(auth->data);
    (void)ParseParameterStatus(message.body);
    (void)ParseReady(message.body);
    if (const auto tag = ParseCommandComplete(message.body)) (void)RowsOfTag(*tag);
    (void)ParseCopyResponse(message.body);
    in.remove_prefix(message.whole.size());
  }
  return 0;
}
