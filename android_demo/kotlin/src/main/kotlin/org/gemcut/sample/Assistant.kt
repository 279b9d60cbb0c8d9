package org.gemcut.sample

import com.google.gson.JsonObject
import java.io.Closeable
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.channels.trySendBlocking
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.isActive
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.gemcut.core.Bundle
import org.gemcut.core.BundleException
import org.gemcut.core.Message
import org.gemcut.core.Progress
import org.gemcut.core.Prompt
import org.gemcut.core.Reply
import org.gemcut.core.StopFilter
import org.gemcut.core.Thoughts
import org.gemcut.core.Tool
import org.gemcut.core.ToolCall
import org.gemcut.core.ToolCalls
import org.pytorch.executorch.extension.llm.LlmCallback
import org.pytorch.executorch.extension.llm.LlmModule

/** What is heard while the model answers. */
sealed interface Event {
    /** More of the answer, for people. */
    data class Said(val piece: String) : Event

    /** A tool was called, and this is what it gave back to the model. */
    data class Called(val call: ToolCall, val result: JsonObject) : Event
}

/**
 * A chat with a bundle in ExecuTorch 1.1. All that it knows of the model comes from the bundle: the prompt's form, the
 * texts that end a reply, the form of tool calls, the context. (`LlmCalls` of the Java app fits other releases too.)
 */
class Assistant private constructor(
    private val bundle: Bundle,
    private val prompt: Prompt,
    private val model: LlmModule,
) : Closeable {
    private val turn = Mutex() // LlmModule answers one at a time
    private var messages = listOf<Message>()

    /**
     * Says something to the model. Whoever collects the flow hears its answer; cancelling that stops the model after the
     * next token, and the chat is then as it was before.
     *
     * @param tools declared to the model, if its template has a place for them
     * @param act does a call and returns what the model is told. Ask the person first: models make mistakes.
     */
    fun ask(words: String, tools: List<Tool>, act: suspend (ToolCall) -> JsonObject): Flow<Event> = flow {
        turn.withLock {
            val chat = messages.toMutableList()
            chat += Message.user(words)
            repeat(ROUNDS) {
                val reply = reply(chat, tools.takeIf { prompt.hasTools() }.orEmpty()) { emit(Event.Said(it)) }
                if (reply.calls.isEmpty()) {
                    messages = chat + Message.assistant(reply.text)
                    return@flow
                }
                chat += Message.assistant(reply.text, reply.calls)
                for (call in reply.calls) {
                    val result = act(call)
                    chat += resultOf(call, result)
                    emit(Event.Called(call, result))
                }
            }
            throw BundleException(
                BundleException.Kind.RUNTIME, "the model called tools $ROUNDS times without an answer", "ask in other words",
            )
        }
    }.flowOn(Dispatchers.IO)

    private fun resultOf(call: ToolCall, result: JsonObject): Message =
        if (prompt.writesObjects()) Message.result(call.name, result) else Message.result(call.name, result.toString())

    /** One reply: its words are said as they come, up to its first call; thoughts are left out. */
    private suspend fun reply(chat: List<Message>, tools: List<Tool>, say: suspend (String) -> Unit): Reply {
        val rendered = render(chat, tools)
        val begun = prompt.thoughtBegun(rendered)
        val text = StringBuilder()
        val words = StringBuilder()
        val thoughts = Thoughts(prompt, begun) { piece, thought -> if (!thought) words.append(piece) }
        var said = 0
        suspend fun sayTo(end: Int) {
            if (end > said) say(words.substring(said, end))
            said = maxOf(said, end)
        }
        pieces(rendered).collect { piece ->
            text.append(piece)
            thoughts.add(piece)
            sayTo(ToolCalls.shown(prompt, words.toString()))
        }
        thoughts.finish()
        val reply = ToolCalls.split(prompt, Thoughts.tell(prompt, text.toString(), begun).words)
        if (reply.calls.isEmpty()) sayTo(words.length)
        return reply
    }

    private fun render(chat: List<Message>, tools: List<Tool>): String {
        val text = prompt.render(chat, tools, true)
        val begins = prompt.bosText()
        return if (begins == null || prompt.bosWritten() || text.startsWith(begins)) text else begins + text
    }

    /** The reply's text as it comes, without what ends it. The prompt holds the whole chat. */
    private fun pieces(rendered: String): Flow<String> = callbackFlow {
        val stops = StopFilter(prompt.stopTexts())
        var heard = false
        val callback = object : LlmCallback {
            override fun onResult(piece: String) {
                heard = true
                val text = stops.take(piece)
                if (text.isNotEmpty()) trySendBlocking(text)
                if (stops.ended() || !isActive) model.stop()
            }

            override fun onStats(stats: String) = Unit
        }
        model.resetContext()
        val code = model.generate(rendered, bundle.manifest.context, callback, false)
        val rest = stops.rest()
        if (rest.isNotEmpty()) trySendBlocking(rest)
        close(if (code != 0) failed("the reply broke off", code) else if (!heard) tooLong() else null)
        awaitClose()
    }

    /** ExecuTorch 1.1 logs it, and returns as if all were well. */
    private fun tooLong() = BundleException(
        BundleException.Kind.UNSUPPORTED,
        "this chat doesn't fit into the model's context of ${bundle.manifest.context} tokens", "begin a new chat",
    )

    /** Forgets all messages. */
    suspend fun clear() = turn.withLock { messages = emptyList() }

    /** Frees the model; no answer may be under way. */
    override fun close() {
        model.resetNative()
        bundle.close()
    }

    companion object {
        private const val ROUNDS = 6
        private const val GREEDY = 0.0f
        private val TOKENIZERS = listOf("tokenizer.json", "tokenizer.model")

        /**
         * Loads a bundle's model.
         *
         * @param bundle whole, as [Delivery.bundle] gives it
         * @param scratch for copies of files that don't lie on the disk by themselves; a [Delivery]'s do
         * @throws BundleException the bundle can't chat, or this ExecuTorch can't run it
         */
        suspend fun load(bundle: Bundle, scratch: File): Assistant = withContext(Dispatchers.IO) {
            val prompt = Prompt.read(bundle)
            val tokenizer = TOKENIZERS.firstOrNull(bundle::has)
            if (!prompt.hasChat() || tokenizer == null) {
                val why = if (prompt.hasChat()) "it holds no tokenizer" else prompt.chatReason()
                throw BundleException(BundleException.Kind.UNSUPPORTED, "this bundle can't chat: $why", "use another")
            }
            val (program, words) = listOf(bundle.manifest.program, tokenizer).map { bundle.file(it, scratch, Progress.NONE) }
            val model = LlmModule(program.path, words.path, GREEDY)
            val code = model.load()
            if (code != 0) {
                model.resetNative()
                throw failed("the model can't be loaded", code)
            }
            Assistant(bundle, prompt, model)
        }

        private fun failed(what: String, code: Int) = BundleException(
            BundleException.Kind.RUNTIME, "$what: ExecuTorch's error $code",
            "'gemcut check' says which bundles this app's version of ExecuTorch runs",
        )
    }
}
