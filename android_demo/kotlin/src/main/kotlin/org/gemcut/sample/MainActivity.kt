package org.gemcut.sample

import android.app.Activity
import android.app.AlertDialog
import android.content.ActivityNotFoundException
import android.content.Intent
import android.net.ConnectivityManager
import android.os.Bundle
import android.provider.AlarmClock
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import com.google.gson.JsonObject
import com.google.gson.JsonPrimitive
import java.net.URL
import kotlin.coroutines.resume
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.suspendCancellableCoroutine
import kotlinx.coroutines.withContext
import org.gemcut.core.BundleException
import org.gemcut.core.Progress
import org.gemcut.core.Tool
import org.gemcut.core.ToolCall

/** One screen: a question, the answer as it comes, and an alarm that the model may set if the person agrees. */
class MainActivity : Activity() {
    private val scope: CoroutineScope = MainScope()
    private val tools = listOf(Tool.function("set_alarm", "Set an alarm.", PARAMETERS))
    private lateinit var transcript: TextView
    private lateinit var send: Button
    private lateinit var stop: Button
    private var assistant: Assistant? = null
    private var answer: Job? = null

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        val question = EditText(this).apply { hint = "Wake me at half past six" }
        transcript = TextView(this)
        send = Button(this).apply {
            text = "Send"
            isEnabled = false
            setOnClickListener { ask(question.text.toString()) }
        }
        stop = Button(this).apply {
            text = "Stop"
            setOnClickListener { answer?.cancel() }
        }
        setContentView(LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            listOf(question, send, stop, transcript).forEach(::addView)
        })
        scope.launch { telling { open() } }
    }

    override fun onDestroy() {
        // The model is freed when its answer has ended, which cancelling does not wait for.
        val loaded = assistant
        scope.cancel()
        CoroutineScope(Dispatchers.IO).launch {
            answer?.join()
            loaded?.close()
        }
        super.onDestroy()
    }

    private suspend fun open() {
        val delivery = Delivery(filesDir.resolve("bundles"), AssetFiles.of(assets), ADDRESS.takeIf(String::isNotEmpty)?.let(::URL))
        val network = getSystemService(CONNECTIVITY_SERVICE) as ConnectivityManager
        if (delivery.needsDownload && network.isActiveNetworkMetered && !agrees("Download the model over mobile data?")) {
            transcript.text = "The model is downloaded when there is Wi-Fi: open the app again then."
            return
        }
        val bundle = delivery.bundle(Progress { done, total, what ->
            runOnUiThread { transcript.text = "$what: ${done / MEGABYTE} of ${total / MEGABYTE} MB" }
            true
        })
        assistant = Assistant.load(bundle, cacheDir)
        transcript.text = ""
        send.isEnabled = true
    }

    private fun ask(words: String) {
        val model = assistant ?: return
        answer = scope.launch {
            send.isEnabled = false
            transcript.append("\n\n$words\n")
            try {
                telling { model.ask(words, tools, ::act).collect { show(it) } }
            } finally {
                send.isEnabled = true
            }
        }
    }

    private fun show(event: Event) = when (event) {
        is Event.Said -> transcript.append(event.piece)
        is Event.Called -> transcript.append("${event.call}: ${event.result}\n")
    }

    /** Sets the alarm if the person agrees; returns what the model is told. */
    private suspend fun act(call: ToolCall): JsonObject = withContext(Dispatchers.Main) {
        val (hour, minute) = TIME.matchEntire((call.arguments["time"] as? JsonPrimitive)?.asString.orEmpty())?.destructured
            ?: return@withContext status("error", "there is no such time")
        if (call.name != "set_alarm" || !agrees("Set an alarm for $hour:$minute?")) {
            return@withContext status("refused")
        }
        val intent = Intent(AlarmClock.ACTION_SET_ALARM)
            .putExtra(AlarmClock.EXTRA_HOUR, hour.toInt())
            .putExtra(AlarmClock.EXTRA_MINUTES, minute.toInt())
        try {
            startActivity(intent)
            status("ok")
        } catch (_: ActivityNotFoundException) {
            status("error", "this phone has no alarm clock")
        }
    }

    private fun status(word: String, reason: String? = null) = JsonObject().apply {
        addProperty("status", word)
        reason?.let { addProperty("reason", it) }
    }

    private suspend fun agrees(question: String): Boolean = suspendCancellableCoroutine { waiting ->
        var answer = false
        AlertDialog.Builder(this)
            .setMessage(question)
            .setPositiveButton("Yes") { _, _ -> answer = true }
            .setNegativeButton("No", null)
            .setOnDismissListener { if (waiting.isActive) waiting.resume(answer) }
            .show()
    }

    /** What goes wrong is said in the library's own words. */
    private suspend fun telling(work: suspend () -> Unit) {
        try {
            work()
        } catch (error: BundleException) {
            transcript.append("\n${error.message}; ${error.hint()}\n")
        }
    }

    private companion object {
        /** Of a `.gemcut` file on a server of yours, where the app is built without a bundle. */
        const val ADDRESS = ""
        const val MEGABYTE = 1_000_000
        const val PARAMETERS =
            """{"type": "object", "properties": {"time": {"type": "string"}}, "required": ["time"]}"""
        val TIME = Regex("([01]?[0-9]|2[0-3]):([0-5][0-9])")
    }
}
