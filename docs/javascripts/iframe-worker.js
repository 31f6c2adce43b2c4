/* The search of Material runs in a worker, which browsers refuse to load from a file: a page that was
   opened without a server gets this class in place of Worker. It runs the same script in a hidden
   frame. Material looks for the name IFrameWorker. */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const page = this.frame.contentDocument
      page.open()
      page.write(
        "<html><body><script>" +
          "self.postMessage = message => parent.postMessage(message, '*');" +
          "self.importScripts = (...urls) => urls.reduce((before, url) => before.then(() =>" +
          " new Promise((done, failed) => { const script = document.createElement('script');" +
          " script.src = url; script.onload = done; script.onerror = failed;" +
          " document.body.appendChild(script) })), Promise.resolve())" +
          "<\/script><script src=\"" + url + "\"><\/script></body></html>"
      )
      page.close()
      this.ready = new Promise(done => (this.frame.onload = done))
      window.addEventListener("message", event => {
        if (event.source === this.frame.contentWindow)
          this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
    }

    postMessage(message) {
      this.ready.then(() =>
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data: message }))
      )
    }

    terminate() {
      this.frame.remove()
    }
  }
  window.Worker = window.IFrameWorker
}
