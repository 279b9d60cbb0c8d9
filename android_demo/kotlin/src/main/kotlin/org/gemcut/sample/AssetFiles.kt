package org.gemcut.sample

import android.content.res.AssetManager
import java.io.File
import java.io.InputStream
import org.gemcut.core.BundleFiles

/** The bundle in the app's assets, in the folder "bundle": of the base module, or of an install-time asset pack. */
class AssetFiles(private val assets: AssetManager) : BundleFiles {
    override fun title(): String = FOLDER

    override fun names(): Set<String> = below("").toSortedSet()

    /** An asset that has nothing below it is a file: there are no empty folders in an APK. */
    private fun below(prefix: String): List<String> {
        val inside = assets.list(if (prefix.isEmpty()) FOLDER else "$FOLDER/$prefix").orEmpty()
        if (inside.isEmpty()) return listOf(prefix).filter(String::isNotEmpty)
        return inside.flatMap { below(if (prefix.isEmpty()) it else "$prefix/$it") }
    }

    override fun open(name: String): InputStream = assets.open("$FOLDER/$name")

    override fun size(name: String): Long = -1 // of a compressed asset only reading would tell

    override fun onDisk(name: String): File? = null

    override fun close() = Unit // the assets are the app's

    companion object {
        private const val FOLDER = "bundle"

        /** The app's bundle; null where it was built without one. */
        fun of(assets: AssetManager): AssetFiles? =
            if (assets.list(FOLDER).isNullOrEmpty()) null else AssetFiles(assets)
    }
}
