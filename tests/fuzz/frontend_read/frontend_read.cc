// Whatever a client sends, the readers stay inside the buffer and views inside the message.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "sidecar/wire/framing.h"
#include "sidecar/wire/frontend.h"

using namespace postern::wire;  // NOLINT(google-build-using-namespace): one translation unit, wire only

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  Message message;
  while (ReadFrontend(in, &message) == Read::kMessage) {
    if (message.whole.size() != message.body.size() + kHeaderBytes) std::abort();
    if (const auto view = ParseParse(message.body); view && view->query.size() > message.body.size()) std::abort();
    if (const auto view = ParseBind(message.body); view && view->values.size() > message.body.size()) std::abort();
    (void)ParseTarget(message.body);
    (void)ParseExecute(message.body);
    (void)ParseQuery(message.body);
    (void)ParsePassword(message.body);
    (void)ParseCopyFail(message.body);
    (void)ParseFunctionCall(message.body);
    in.remove_prefix(message.whole.size());
  }
  return 0;
}
