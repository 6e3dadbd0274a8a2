"""LangGraph, OpenAI Agents and pydantic-ai through the gate, as their documentation shows them.

Their users asked for a guard before each step of a loop, with the loop's own error handling intact
(peers.md 2.A.21: openai-agents-python, crewAI, and the $47 k loop).
"""

from collections.abc import Callable, Mapping
from typing import Any

import openai
import pytest
import spanward_client
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from spanward_client import BudgetExceeded, refusal_of

from tests.client.answers import AGENT
from tests.client.control import Control
from tests.client.gate.openai_sdk import awaited
from tests.client.provider import INPUT, OUTPUT, TEXT, Provider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def langgraph(url: str) -> str:
    model = ChatOpenAI(model="gpt-5-mini", base_url=f"{url}/v1", api_key="none", max_tokens=300)  # type: ignore[call-arg,arg-type]

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_edge(START, "think")
    graph.add_edge("think", END)
    answer = graph.compile().invoke({"messages": [{"role": "user", "content": "Why is the sky blue?"}]})  # type: ignore[call-overload]
    return str(answer["messages"][-1].content)


async def openai_agents(url: str) -> str:
    set_tracing_disabled(disabled=True)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        model = OpenAIChatCompletionsModel(model="gpt-5-mini", openai_client=client)
        agent = Agent(name="sky", model=model, model_settings=ModelSettings(max_tokens=300))
        return str((await Runner.run(agent, "Why is the sky blue?")).final_output)


async def pydantic_ai(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        model = OpenAIChatModel("gpt-5-mini", provider=OpenAIProvider(openai_client=client))
        agent = PydanticAgent(model, model_settings={"max_tokens": 300})
        return (await agent.run("Why is the sky blue?")).output


FRAMEWORKS: Mapping[str, Callable[[str], str]] = {
    "langgraph": langgraph,
    "openai_agents": awaited(openai_agents),
    "pydantic_ai": awaited(pydantic_ai),
}


@pytest.mark.parametrize("name", list(FRAMEWORKS))
def test_each_step_of_a_framework_asks_and_settles(name: str, gate: Control, provider: Provider) -> None:
    assert FRAMEWORKS[name](provider.url) == TEXT
    (question,) = gate.questions
    assert (question["model"], question["max_output_tokens"]) == ("gpt-5-mini", 300)
    assert spanward_client.flush()
    assert gate.finished == [("hold-1", "settle", {"input_tokens": INPUT, "output_tokens": OUTPUT})]


@pytest.mark.parametrize("name", list(FRAMEWORKS))
def test_a_refusal_comes_out_of_a_framework_with_its_words_and_its_type(
    name: str, gate: Control, provider: Provider
) -> None:
    gate.deny()
    with pytest.raises(Exception, match=f"The daily budget of {AGENT}") as caught:
        FRAMEWORKS[name](provider.url)
    assert isinstance(refusal_of(caught.value), BudgetExceeded)
    assert (len(gate.questions), provider.asked) == (1, [])
