"""Spellings of providers in, one word each out: the GenAI semantic conventions' where they have one.

Words of `gen_ai.provider.name`: https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/.
Prefixes of model names: https://docs.litellm.ai/docs/providers (`azure/…`, `bedrock/…`, `vertex_ai/…`)
and https://openrouter.ai/docs (`x-ai/…`, `mistralai/…`). AI SDK words such as `openai.responses`:
https://ai-sdk.dev/providers. Which provider sells which model is left to `names`.
"""

# GenAI semantic-convention words → the price list's own.
PROVIDER_IDS = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}

# The price list's words → the semantic conventions', where one list serves several.
_SEMCONV = {
    "azure": "azure.ai.openai",
    "aws": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "x-ai": "x_ai",
}

_ALIASES = {
    "amazon-bedrock": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "azure-openai": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "google.generative-ai": "gcp.gemini",
    "google.vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex": "gcp.vertex_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "xai": "x_ai",
}

# Gateways pass a call on under the seller's own name, and who they pass it to stands in the model's
# prefix; frameworks put their own name where the provider's belongs.
GATEWAYS = frozenset(
    {"", "litellm", "litellm_proxy", "_other"}
    | {"langchain", "langgraph", "strands-agents", "gcp.vertex.agent", "crewai", "llamaindex", "llama_index"}
)

# They sell other vendors' models on their own bill, at their own price.
RESELLERS = frozenset({"openrouter", "github-copilot", "cloudflare", "vercel"})


def semconv(provider_id: str) -> str:
    """The semantic conventions' word for a provider of the price list."""
    return _SEMCONV.get(provider_id, provider_id)


def canonical(word: str, listed: frozenset[str]) -> str:
    """One word for a provider however it is spelled; a word nobody knows stays as it came.

    `listed` are the price list's providers. The AI SDK appends the API to the provider (`openai.chat`).
    """
    lower = word.strip().lower()
    for candidate in (lower, lower.rpartition(".")[0], lower.partition(".")[0]):
        if candidate in PROVIDER_IDS:
            return candidate
        if candidate in _ALIASES:
            return _ALIASES[candidate]
        if candidate in listed:
            return semconv(candidate)
    return word


def known(word: str, listed: frozenset[str]) -> bool:
    """Whether a word names a provider in any spelling."""
    return price_list_id(canonical(word, listed)) in listed


def price_list_id(provider: str) -> str:
    """The price list's id of a provider in the semantic conventions' word."""
    return PROVIDER_IDS.get(provider, provider)
