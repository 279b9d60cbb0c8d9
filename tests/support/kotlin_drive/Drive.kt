import com.google.gson.Gson
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.io.File
import java.net.URL
import kotlin.system.exitProcess
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.gemcut.core.BundleException
import org.gemcut.core.FolderFiles
import org.gemcut.core.Tool
import org.gemcut.sample.Assistant
import org.gemcut.sample.Delivery
import org.gemcut.sample.Event

/**
 * The Kotlin sample without its screen: STORE SCRIPT RESULTS. The script is a JSON list of steps, each an object with "do";
 * the results are a list of objects, with "error" where a step failed in words.
 */
object Drive {
    private var assistant: Assistant? = null

    @JvmStatic
    fun main(words: Array<String>) {
        val (store, script, results) = words.map(::File)
        val steps = JsonParser.parseString(script.readText()).asJsonArray.map { it.asJsonObject }
        try {
            val told = steps.map { step ->
                mutableMapOf<String, Any>().also { told ->
                    try {
                        runBlocking { run(step, store, told) }
                    } catch (error: BundleException) {
                        told += mapOf("error" to error.message.orEmpty(), "hint" to error.hint(), "kind" to error.kind().name)
                    }
                }
            }
            results.writeText(Gson().toJson(told))
        } catch (thrown: Throwable) {
            thrown.printStackTrace()
            exitProcess(1)
        }
        System.err.flush()
        Runtime.getRuntime().halt(0)
    }

    private suspend fun run(step: JsonObject, store: File, told: MutableMap<String, Any>) {
        when (val verb = step["do"].asString) {
            "deliver" -> {
                val delivery = Delivery(
                    store, step["folder"]?.let { FolderFiles(File(it.asString)) }, step["url"]?.let { URL(it.asString) },
                )
                told["needs_download"] = delivery.needsDownload
                var updates = 0
                val bundle = delivery.bundle { _, _, _ -> ++updates <= (step["stop_after"]?.asInt ?: Int.MAX_VALUE) }
                told["updates"] = updates
                told["sha256"] = bundle.manifest.sha256
                if (step["load"]?.asBoolean == true) assistant = Assistant.load(bundle, store)
            }
            "ask" -> ask(step, told)
            "first" -> told["first"] = checkNotNull(assistant).ask(step["say"].asString, emptyList()) { JsonObject() }.first().toString()
            else -> error(verb)
        }
    }

    private suspend fun ask(step: JsonObject, told: MutableMap<String, Any>) {
        val model = checkNotNull(assistant)
        if (step["goes_on"] == null) model.clear()
        val tools = step["tools"]?.asJsonArray?.map(Tool::of).orEmpty()
        val pieces = mutableListOf<String>()
        val calls = mutableListOf<String>()
        told["pieces"] = pieces
        told["calls"] = calls
        model.ask(step["say"].asString, tools) { step["result"].asJsonObject }.collect { event ->
            when (event) {
                is Event.Said -> pieces += event.piece
                is Event.Called -> calls += "${event.call} gave ${event.result}"
            }
        }
    }
}
